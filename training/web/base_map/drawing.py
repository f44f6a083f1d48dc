"""Draw the base map into a map whose plane has a known place on the earth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from django.conf import settings

from training.web.base_map import outlines
from training.web.base_map.outlines import outlines_within
from training.web.base_map.tiles import tiles_within
from training.web.charts.map_plot import MapPlot

_EARTH_RADIUS = 6_357_000.0  # m, at the poles
# The projection onto a plane is not usable on a larger scale.
_MAX_REACH = 4_000_000.0
_MARGIN = 1.05
_PIXELS_APART = 1.5

Bounds = tuple[float, float]  # degrees


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a map is: `project` maps latitudes and longitudes to meters east and north of `origin`.

    `origin`: latitude and longitude in degrees.
    """

    origin: tuple[float, float]
    project: Callable[[Sequence[float], Sequence[float]], list[tuple[float, float]]]

    @property
    def is_known(self) -> bool:
        """Whether it is a place at all: datasets in meters without an origin have 0, 0."""
        return max(map(abs, self.origin)) > 0.5


def draw_base_map(plot: MapPlot, ground: Ground) -> str:
    """Draw it below everything that follows; returns the source to be shown with it."""
    if not ground.is_known or plot.reach > _MAX_REACH:
        return ""
    lat, lon = _bounds(plot, ground.origin)
    if settings.MAP_TILES:
        return settings.MAP_ATTRIBUTION if _draw_tiles(plot, ground, lat, lon) else ""
    return outlines.ATTRIBUTION if _draw_outlines(plot, ground, lat, lon) else ""


def _bounds(plot: MapPlot, origin: tuple[float, float]) -> tuple[Bounds, Bounds]:
    """Latitudes and longitudes that contain the map; wider than it by at least 5 %."""
    around = _MARGIN * math.degrees(math.asin(plot.reach / _EARTH_RADIUS))
    low, high = max(origin[0] - around, -90.0), min(origin[0] + around, 90.0)
    widest = math.cos(math.radians(max(abs(low), abs(high))))
    sideways = min(around / widest, 180.0) if widest > 1e-6 else 180.0
    return (low, high), (origin[1] - sideways, origin[1] + sideways)


def _draw_outlines(plot: MapPlot, ground: Ground, lat: Bounds, lon: Bounds) -> bool:
    drawn = False
    for outline in outlines_within(lat, lon):
        places = np.array(ground.project(outline.lat.tolist(), outline.lon.tolist()))
        # Of a continent's 100,000 points, a pixel has many.
        pixels = np.round(places * plot.pixels_per_meter / _PIXELS_APART)
        moves = np.any(np.diff(pixels, axis=0, prepend=np.nan) != 0, axis=1)
        if np.count_nonzero(moves) > 1 and plot.shows(places):
            css = "outline border" if outline.is_border else "outline coast"
            plot.canvas.curve(css, map(plot, places[moves].tolist()))
            drawn = True
    return drawn


def _draw_tiles(plot: MapPlot, ground: Ground, lat: Bounds, lon: Bounds) -> bool:
    drawn = False
    for tile in tiles_within(lat, lon, plot.pixels_per_meter):
        places = ground.project(
            [corner[0] for corner in tile.corners], [corner[1] for corner in tile.corners]
        )
        (left, top), (right, right_top), (left_bottom, bottom) = map(plot, places)
        # The image has the size 1; north is not quite up in the whole map.
        matrix = (right - left, right_top - top, left_bottom - left, bottom - top, left, top)
        plot.canvas.shape(
            "image",
            "tile",
            href=tile.url(settings.MAP_TILES),
            width="1.004",  # hides the seam to the next one
            height="1.004",
            preserveAspectRatio="none",
            transform=f"matrix({' '.join(f'{value:.3f}' for value in matrix)})",
        )
        drawn = True
    return drawn
