from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.localization.synthetic.area import BufferedConvexHull, convex_hull

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])


def sample(area: BufferedConvexHull, count: int = 20_000) -> np.ndarray:
    return area.sample(np.random.default_rng(0).random((count, 3)))


def test_hull_leaves_out_inner_points_and_points_on_edges() -> None:
    points = np.vstack([SQUARE, [[5, 5], [5, 0], [10, 5], [0, 0]]])
    assert convex_hull(points).tolist() == SQUARE.tolist()


def test_hull_of_collinear_points_is_their_endpoints() -> None:
    assert convex_hull(np.array([[1.0, 1.0], [0, 0], [2, 2]])).tolist() == [[0, 0], [2, 2]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=30))
def test_hull_is_anticlockwise_and_contains_every_point(points: list[tuple[int, int]]) -> None:
    array = np.array(points, float)
    hull = convex_hull(array)
    if len(hull) > 2:
        edges = np.roll(hull, -1, axis=0) - hull
        delta = array[:, None] - hull
        cross = edges[:, 0] * delta[..., 1] - edges[:, 1] * delta[..., 0]
        assert (cross >= 0).all()
    assert BufferedConvexHull(array, 0.001).contains(array).all()


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (SQUARE, 100 + 4 * 10 * 2 + np.pi * 4),
        (SQUARE[:2], 2 * 10 * 2 + np.pi * 4),  # a stadium
        (SQUARE[:1], np.pi * 4),  # a disc
    ],
    ids=["square", "line", "point"],
)
def test_area_includes_a_margin(points: np.ndarray, expected: float) -> None:
    assert BufferedConvexHull(points, 2.0).area == pytest.approx(expected)


@pytest.mark.parametrize("points", [SQUARE, SQUARE[:3], SQUARE[:2], SQUARE[:1]], ids=len)
def test_samples_are_inside_the_area(points: np.ndarray) -> None:
    area = BufferedConvexHull(points, 2.0)
    assert area.contains(sample(area)).all()


@pytest.mark.parametrize("points", [SQUARE, SQUARE[:3], SQUARE[:2]], ids=len)
def test_samples_are_uniform(points: np.ndarray) -> None:
    """As many in each cell of a grid as random points of the bounding box inside the area."""
    area, edges = BufferedConvexHull(points, 2.0), np.linspace(-2, 12, 5)
    drawn, _ = np.histogramdd(sample(area, 100_000), bins=[edges, edges])
    box = np.random.default_rng(1).uniform(-2, 12, (400_000, 2))
    expected, _ = np.histogramdd(box[area.contains(box)], bins=[edges, edges])
    assert drawn / drawn.sum() == pytest.approx(expected / expected.sum(), abs=0.005)


def test_corner_of_the_bounding_box_is_outside_the_rounded_margin() -> None:
    area = BufferedConvexHull(SQUARE, 2.0)
    inside = area.contains(np.array([[-2.0, 5.0], [-1.4, -1.4], [-1.5, -1.5], [5.0, 12.1]]))
    assert inside.tolist() == [True, True, False, False]
