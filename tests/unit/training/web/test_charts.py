from __future__ import annotations

import itertools
import math
import re
from itertools import product
from xml.etree import ElementTree as ET

import pytest

from training.models.evaluation import MapPoints
from training.web.charts.line_charts import cdf_chart, comparison_chart, line_chart, sparkline
from training.web.charts.maps import RADIUS_68, dataset_map, error_map
from training.web.charts.svg import Scale, round_step
from training.web.formatting import format_number


def shapes(svg: str, css: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(svg).iter() if element.get("class") == css]  # noqa: S314


def test_scales_map_data_to_pixels_and_tick_at_round_values() -> None:
    assert Scale(0, 10, 100, 0)(5) == 50
    assert Scale(1, 100, 0, 10, log=True)(10) == pytest.approx(5)
    assert Scale(0, 9.7, 0, 1).ticks(5) == [0, 2, 4, 6, 8]
    assert Scale(3, 2000, 0, 1, log=True).ticks(6) == [3, 10, 30, 100, 300, 1000]
    assert [round_step(x) for x in (0.3, 1, 4, 70)] == [0.5, 1, 5, 100]


def test_curve_breaks_at_missing_values_and_gaps() -> None:
    svg = line_chart("x", [1, 2, 3, 4], {"a": [1.0, None, 2.0, 3.0]}, str, gaps=[3])
    (line,) = shapes(svg, "line a")
    assert line.get("d", "").count("M") == 3


def test_curves_of_different_length_share_axes() -> None:
    svg = comparison_chart(
        "x", {"c0": ([1, 2], [-3.0, 8.0]), "c1": ([1, 2, 3], [1.0, 2.0, None])}, str, log=True
    )
    (first,), (second,) = shapes(svg, "line c0"), shapes(svg, "line c1")
    assert first.get("d", "").count("L") == second.get("d", "").count("L") == 1
    assert Scale(-10, 10, -1, 1, log=True)(0) == 0
    assert Scale(-4, 4.5, 0, 1, log=True).ticks() == [-2, -1, 0, 1, 2]
    assert shapes(comparison_chart("x", {"c0": ([], [])}, str), "line c0") == []


def test_names_are_escaped_in_svg() -> None:
    svg = dataset_map([(0.0, 0.0, "<script>"), (1000.0, 500.0, "B")], [(5.0, 5.0, "val")])
    assert len(shapes(svg, "sample val")) == 1
    assert "<script>" not in svg
    assert "&lt;script&gt;" in svg


def test_labels_of_adjacent_receivers_do_not_overlap() -> None:
    north = [0, 20, 40, 60, 900]
    receivers = [(40.0 * index, y, f"receiver-{index}") for index, y in enumerate(north)]
    names = shapes(dataset_map([*receivers, (4000.0, 0.0, "far")]), "name")
    spans = []
    for name in names:
        width, x = 7.0 * len(name.text or ""), float(name.get("x", 0))
        left = x - {"start": 0, "middle": width / 2, "end": width}[name.get("text-anchor", "start")]
        spans.append((left, left + width, float(name.get("y", 0))))
    assert len(spans) >= 4
    for one, other in itertools.combinations(spans, 2):
        side_by_side = one[1] <= other[0] or other[1] <= one[0]
        assert side_by_side or abs(one[2] - other[2]) >= 11, (one, other)


def test_ellipse_matches_the_covariance() -> None:
    points: MapPoints = {
        "target": [[0, 0], [10_000, 10_000]], "mean": [[0, 0], [10_000, 10_000]],
        "covariance": [[250_000, 150_000, 250_000], [1, 0, 1]], "receivers": [],
    }  # fmt: skip
    first = shapes(error_map(points), "ellipse")[0]
    assert first.get("transform", "").startswith("rotate(-45")
    ratio = float(first.get("rx", 0)) / float(first.get("ry", 0))
    assert ratio == pytest.approx(math.sqrt(400_000 / 100_000), rel=0.02)
    assert pytest.approx(1.5096, abs=1e-4) == RADIUS_68


def test_charts_accept_incomplete_data() -> None:
    assert "svg" in error_map({"target": [[0, 0]], "mean": [[5, 5]]})
    assert "svg" in sparkline([None, 1.0], "x")
    assert "svg" in cdf_chart({"model": ([0, 10.0, 500.0], [0, 0.5, 1])})
    assert shapes(line_chart("x", [], {"a": []}, str), "line a") == []


EXTREMES = [1.7976931348623157e308, -1.7976931348623157e308, 1e200, 5e-324, -5e-324, 0.0, 1.0]


@pytest.mark.parametrize("log", [False, True])
def test_extreme_float_values_are_drawn(log: bool) -> None:
    for first, second in product(EXTREMES, EXTREMES):
        lines = {"a": ([0.0, 1.0], [first, second])}
        svg = comparison_chart("x", lines, format_number, None, log)
        assert shapes(svg, "line a")
        assert not {"nan", "inf"} & set(re.findall("nan|inf", svg))
        assert shapes(sparkline([first, second], "x"), "line")
