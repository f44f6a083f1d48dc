"""Tiles against the published numbers of the scheme."""

from __future__ import annotations

import pytest

from training.web.base_map.tiles import MAX_TILES, MAX_ZOOM, Tile, tiles_within

TEMPLATE = "https://tiles.example.org/{z}/{x}/{y}.png"


def test_tile_of_berlin() -> None:
    """Column 550 and row 335 at zoom level 10, from the OpenStreetMap wiki's formula."""
    (tile,) = tiles_within((52.52, 52.52), (13.405, 13.405), 256 / 24_000 * 0.85)
    assert (tile.zoom, tile.column, tile.row) == (10, 550, 335)
    (north, west), (_, east), (south, _) = tile.corners
    assert north > 52.52 > south and west < 13.405 < east
    assert (west, east) == (13.359375, 13.7109375)
    assert tile.url(TEMPLATE) == "https://tiles.example.org/10/550/335.png"


@pytest.mark.parametrize("span", [0.0001, 0.01, 1.0, 20.0])
def test_tiles_cover_the_map_without_gaps(span: float) -> None:
    meters = span * 111_200 * 0.7  # width of the map at 45 degrees
    tiles = list(tiles_within((45.0, 45.0 + span * 0.7), (7.0, 7.0 + span), 560 / meters))
    assert 1 <= len(tiles) <= MAX_TILES
    assert min(tile.corners[0][1] for tile in tiles) <= 7.0
    assert max(tile.corners[1][1] for tile in tiles) >= 7.0 + span
    assert max(tile.corners[0][0] for tile in tiles) >= 45.0 + span * 0.7
    assert min(tile.corners[2][0] for tile in tiles) <= 45.0
    columns, rows = {tile.column for tile in tiles}, {tile.row for tile in tiles}
    assert len(tiles) == len(columns) * len(rows)
    assert tiles[0].zoom <= MAX_ZOOM


def test_columns_beyond_the_date_line_are_those_of_the_other_side() -> None:
    columns = [tile.column for tile in tiles_within((0.0, 0.1), (179.5, 180.5), 560 / 111_000)]
    last = (1 << 10) - 1
    assert max(columns) > last
    assert Tile(10, last + 1, 3, ((0, 0), (0, 0), (0, 0))).url(TEMPLATE).endswith("/10/0/3.png")


def test_poles_are_the_edge_of_the_square_map() -> None:
    tiles = list(tiles_within((88.0, 90.0), (10.0, 20.0), 560 / 50_000))
    assert {tile.row for tile in tiles} <= {0}
