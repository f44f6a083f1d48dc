"""The base map lies where the receivers are."""

from __future__ import annotations

from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from training.localization.geometry import LocalFrame
from training.programs.registry import get_program
from training.web.base_map import outlines
from training.web.base_map.drawing import Ground
from training.web.charts.maps import dataset_map

GENOA = (44.405, 8.905)
TEMPLATE = "https://tiles.example.org/{z}/{x}/{y}.png?key=a&b"


def draw(origin: tuple[float, float], reach: float = 15_000.0) -> ET.Element:
    ground = Ground(origin, partial(get_program().dataset_format.project, origin))
    receivers = [(-reach, -reach, "a"), (reach, reach, "b")]
    return ET.fromstring(dataset_map(receivers, [], ground))  # noqa: S314  (our own drawing)


def elements(root: ET.Element, css: str) -> list[ET.Element]:
    return [one for one in root.iter() if css in one.get("class", "").split()]


def test_coast_passes_through_a_harbor_in_the_middle_of_the_map() -> None:
    root = draw(GENOA)
    numbers = [
        float(number)
        for path in elements(root, "coast")
        for number in path.get("d", "").replace("M", " ").replace("L", " ").split()
    ]
    middle = float(root.get("viewBox", "").split()[2]) / 2
    height = float(root.get("viewBox", "").split()[3]) / 2
    pixels_per_meter = (2 * height - 52) / 30_000
    nearest = min(
        max(abs(x - middle), abs(y - height))
        for x, y in zip(numbers[::2], numbers[1::2], strict=True)
    )
    assert nearest < 3000 * pixels_per_meter
    assert [text.text for text in elements(root, "source")] == [outlines.ATTRIBUTION]


def test_map_without_coasts_names_no_source() -> None:
    root = draw((52.0, 20.0))
    assert elements(root, "outline") == elements(root, "source") == []
    assert elements(root, "scale-bar")


@pytest.mark.parametrize("reach", [1e-3, 1e5, 2e6, 2e7, 1e9])
@pytest.mark.parametrize("origin", [(89.999, 5.0), (-17.7, 179.99), (0.0, 0.0), (-90.0, -180.0)])
def test_map_of_any_place_and_size_is_drawn(origin: tuple[float, float], reach: float) -> None:
    assert len(elements(draw(origin, reach), "receiver")) == 2


def test_dataset_in_meters_without_an_origin_has_no_base_map(settings: Any) -> None:
    settings.MAP_TILES = TEMPLATE
    assert elements(draw((0.001, 0.0)), "tile") == []


def test_tiles_of_the_operator_lie_at_their_corners(settings: Any) -> None:
    settings.MAP_TILES, settings.MAP_ATTRIBUTION = TEMPLATE, "© The <mappers>"
    root = draw(GENOA)
    tiles = elements(root, "tile")
    assert tiles and elements(root, "outline") == []
    assert [text.text for text in elements(root, "source")] == ["© The <mappers>"]
    east, north = LocalFrame(*GENOA).to_local(44.5, 9.0)
    height = float(root.get("viewBox", "").split()[3])
    scale = (height - 52) / 30_000
    point = 280 + east * scale, height / 2 - north * scale
    covering = [tile for tile in tiles if covers(tile, *point)]
    assert len(covering) == 1
    zoom, column, row = (
        covering[0].get("href", "").split("?")[0].removesuffix(".png").split("/")[-3:]
    )
    middle = (int(column) + 0.5) / (1 << int(zoom)) * 360 - 180
    assert middle == pytest.approx(9.0, abs=0.1)
    assert covering[0].get("href", "").endswith(".png?key=a&b")
    assert int(row) > 0


def covers(tile: ET.Element, x: float, y: float) -> bool:
    matrix = tile.get("transform", "").removeprefix("matrix(").removesuffix(")").split()
    width, turn, other_turn, height, left, top = map(float, matrix)
    assert abs(turn) < width / 50 and abs(other_turn) < height / 50
    return left <= x < left + width and top <= y < top + height
