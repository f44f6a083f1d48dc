"""The map of positions: ellipses of the right size and direction, and marks for the script."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from training.programs.positions import Ellipse
from training.web.charts.answer_map import (
    MAX_FILLED_ELLIPSES,
    MAX_VISIBLE_ELLIPSES,
    MappedAnswer,
    answer_map,
)

RECEIVERS = [(0.0, 0.0, "Hill", 0), (10_000.0, 0.0, "Town <b>", 1), (0.0, 8_000.0, "Car", 3)]


def ellipse(major: float, minor: float, azimuth: float = 0.0) -> Ellipse:
    return {"semi_major_m": major, "semi_minor_m": minor, "azimuth_deg": azimuth}


def answer(number: int = 0, azimuth: float = 0.0) -> MappedAnswer:
    inner, outer = ellipse(500.0, 250.0, azimuth), ellipse(1000.0, 500.0, azimuth)
    return MappedAnswer(number, f"sample {number}", (5000.0, 4000.0), inner, outer)


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  (made by the code under test)


def elements(root: ET.Element, css: str) -> list[ET.Element]:
    return [one for one in root.iter() if css in one.get("class", "").split()]


@pytest.mark.parametrize(("azimuth", "turn"), [(0.0, -90.0), (90.0, 0.0), (120.0, 30.0)])
def test_ellipse_has_the_scale_of_the_map_and_its_azimuth(azimuth: float, turn: float) -> None:
    root = parse(answer_map([answer(azimuth=azimuth)], RECEIVERS))
    markers = [one.get("d", "") for one in elements(root, "receiver-marker")]
    left, right = sorted(float(path[1:].split()[0]) for path in markers)[::2]
    outer, inner = elements(root, "ellipse")
    pixels_per_meter = (right - left) / 10_000
    assert float(inner.get("rx", "")) == pytest.approx(500 * pixels_per_meter, abs=0.1)
    assert float(outer.get("ry", "")) == pytest.approx(500 * pixels_per_meter, abs=0.1)
    assert inner.get("transform", "").startswith(f"rotate({turn:.1f} ")


def test_map_elements_carry_numbers_for_the_script() -> None:
    root = parse(answer_map([answer(0), answer(7)], RECEIVERS))
    numbers = [one.get("data-receiver") for one in elements(root, "receiver")]
    assert sorted(map(str, numbers)) == ["0", "1", "3"]
    assert [one.get("data-answer") for one in elements(root, "answer")] == [None, None, "0", "7"]
    assert [one.get("id") for one in elements(root, "answer")[:2]] == ["map-0", "map-7"]
    assert "Town <b>" in [title.text for title in root.iter() if title.tag.endswith("title")]
    assert root.get("aria-label") == "Map of 2 estimated positions and 3 receivers"
    assert elements(root, "scale-bar")


def test_ellipses_of_many_positions_appear_on_demand() -> None:
    many = [answer(number) for number in range(MAX_VISIBLE_ELLIPSES + 1)]
    assert len(elements(parse(answer_map(many, RECEIVERS)), "on-hover")) == 2 * len(many)
    assert elements(parse(answer_map(many[1:], RECEIVERS)), "on-hover") == []


def test_several_ellipses_are_not_filled_and_hide_no_receiver() -> None:
    several = [answer(number) for number in range(MAX_FILLED_ELLIPSES + 1)]
    root = parse(answer_map(several, RECEIVERS))
    assert len(elements(root, "unfilled")) == 2 * len(several)
    assert elements(parse(answer_map(several[1:], RECEIVERS)), "unfilled") == []
    order = [one.get("class", "").split()[0] for one in root.iter() if one.get("class")]
    assert max(n for n, css in enumerate(order) if css == "ellipse") < order.index("receiver")


def test_huge_ellipse_does_not_shrink_the_receivers_to_a_point() -> None:
    vast = MappedAnswer(0, "vast", (5000.0, 4000.0), ellipse(1e6, 1e6), ellipse(2e6, 2e6))
    root = parse(answer_map([vast], RECEIVERS))
    x = [float(one.get("d", "")[1:].split()[0]) for one in elements(root, "receiver-marker")]
    assert max(x) - min(x) > 100


@pytest.mark.parametrize("receivers", [RECEIVERS, RECEIVERS[:1]])
def test_map_without_positions_shows_the_receivers(
    receivers: list[tuple[float, float, str, int]],
) -> None:
    root = parse(answer_map([], receivers))
    assert len(elements(root, "receiver-marker")) == len(receivers)


def test_single_position_without_receivers_is_drawn() -> None:
    root = parse(answer_map([answer()], []))
    assert len(elements(root, "ellipse")) == 2
