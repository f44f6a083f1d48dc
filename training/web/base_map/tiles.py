"""Tiles of a map server that the operator names, in the Web Mercator scheme ("slippy map")."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

MAX_ZOOM = 19
MAX_TILES = 64
_EQUATOR = 40_075_016.7  # m, of the sphere of Web Mercator
_MAX_LATITUDE = 85.05  # degrees, the edge of the square map
_MAX_TILE_WIDTH = 220  # in pixels of the drawing


@dataclass(frozen=True, slots=True)
class Tile:
    """`corners`: latitude and longitude of its north-west, north-east and south-west corners."""

    zoom: int
    column: int
    row: int
    corners: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

    def url(self, template: str) -> str:
        column = self.column % (1 << self.zoom)
        return (
            template.replace("{z}", str(self.zoom))
            .replace("{x}", str(column))
            .replace("{y}", str(self.row))
        )


def tiles_within(
    lat: tuple[float, float], lon: tuple[float, float], pixels_per_meter: float
) -> Iterator[Tile]:
    """The tiles over the bounds in degrees, each at most 220 pixels wide; none for a whole world.

    Beyond the last zoom level the tiles are wider.
    """
    middle = math.radians((lat[0] + lat[1]) / 2)
    zoom = math.ceil(math.log2(_EQUATOR * math.cos(middle) * pixels_per_meter / _MAX_TILE_WIDTH))
    zoom = min(max(zoom, 0), MAX_ZOOM)
    columns = [math.floor(_column(value, zoom)) for value in lon]
    rows = [math.floor(_row(value, zoom)) for value in reversed(lat)]
    rows = [min(max(row, 0), (1 << zoom) - 1) for row in rows]
    if (columns[1] - columns[0] + 1) * (rows[1] - rows[0] + 1) > MAX_TILES:
        return
    for row in range(rows[0], rows[1] + 1):
        for column in range(columns[0], columns[1] + 1):
            north, south = _latitude(row, zoom), _latitude(row + 1, zoom)
            west, east = _longitude(column, zoom), _longitude(column + 1, zoom)
            yield Tile(zoom, column, row, ((north, west), (north, east), (south, west)))


def _column(lon: float, zoom: int) -> float:
    return (lon + 180.0) / 360.0 * (1 << zoom)


def _longitude(column: int, zoom: int) -> float:
    return column / (1 << zoom) * 360.0 - 180.0


def _row(lat: float, zoom: int) -> float:
    lat = math.radians(min(max(lat, -_MAX_LATITUDE), _MAX_LATITUDE))
    return (1 - math.asinh(math.tan(lat)) / math.pi) / 2 * (1 << zoom)


def _latitude(row: int, zoom: int) -> float:
    return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / (1 << zoom)))))
