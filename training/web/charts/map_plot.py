"""A map with a scale bar and receivers, drawn in a plane of meters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.web.charts.svg import Canvas, Scale, round_step
from training.web.formatting import format_distance_tick

WIDTH, MARGIN, MAX_HEIGHT = 560, 26, 460
# Sizes of names in the font of narrow screens, in pixels.
CHARACTER_WIDTH, LABEL_ASCENT, LABEL_DESCENT = 7.6, 11, 3
Point = Sequence[float]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


class MapPlot:
    """Maps east and north in meters to pixels, with the same scale in both directions."""

    def __init__(self, points: Sequence[Point], label: str) -> None:
        east, north = [p[0] for p in points], [p[1] for p in points]
        width, height = max(east) - min(east) or 1.0, max(north) - min(north) or 1.0
        self.pixels_per_meter = min(
            (WIDTH - 2 * MARGIN) / width, (MAX_HEIGHT - 2 * MARGIN) / height
        )
        pixel_height = max(200.0, height * self.pixels_per_meter + 2 * MARGIN)
        self.canvas = Canvas(WIDTH, pixel_height, label, "drawing map")
        center = ((max(east) + min(east)) / 2, (max(north) + min(north)) / 2)
        half_east = WIDTH / 2 / self.pixels_per_meter
        half_north = pixel_height / 2 / self.pixels_per_meter
        self.x = Scale(center[0] - half_east, center[0] + half_east, 0, WIDTH)
        self.y = Scale(center[1] - half_north, center[1] + half_north, pixel_height, 0)

    def __call__(self, point: Point) -> tuple[float, float]:
        return self.x(point[0]), self.y(point[1])

    @property
    def reach(self) -> float:
        """How far the corners are from the plane's origin, in meters."""
        return math.hypot(
            max(abs(self.x.low), abs(self.x.high)), max(abs(self.y.low), abs(self.y.high))
        )

    def shows(self, places: NDArray[np.float64]) -> bool:
        """Whether the bounding box of places [n, 2] in meters overlaps the map."""
        (west, south), (east, north) = places.min(axis=0), places.max(axis=0)
        return bool(
            west < self.x.high and east > self.x.low and south < self.y.high and north > self.y.low
        )

    def draw_grid(self, source: str = "") -> None:
        """Draw grid lines at round distances, a scale bar, the north arrow and a map's source."""
        step = round_step((self.x.high - self.x.low) / 7)
        for scale, horizontal in ((self.x, False), (self.y, True)):
            for index in range(math.ceil(scale.low / step), math.floor(scale.high / step) + 1):
                at = scale(index * step)
                ends = ((0, at), (WIDTH, at)) if horizontal else ((at, 0), (at, self.canvas.height))
                self.canvas.line("grid", *ends)
        y, length = self.canvas.height - 12, step * self.pixels_per_meter
        self.canvas.line("scale-bar", (12, y), (12 + length, y))
        self.canvas.text("tick", (18 + length, y + 4), format_distance_tick(step))
        self.canvas.text("tick", (WIDTH - 12, 18), "N ↑", "end")
        if source:
            self.canvas.text("source", (WIDTH - 8, self.canvas.height - 8), source, "end")

    def draw_receivers(
        self, receivers: Sequence[Sequence[Any]], numbers: Sequence[int] = ()
    ) -> None:
        """Draw markers with names; `receivers`: [east, north, name].

        A name without free space is left out; the marker's tooltip has it. A script finds the
        markers by `numbers`.
        """
        markers = [
            (self((east, north)), str(name), str(number) if number is not None else "")
            for (east, north, name), number in zip_longest(receivers, numbers)
        ]
        taken = [(x - 6, y - 6, x + 6, y + 4) for (x, y), *_ in markers]
        for (x, y), name, number in sorted(markers, key=lambda marker: marker[0][1]):
            attributes = {"data_receiver": number} if number else {}
            group = self.canvas.group("receiver", name, **attributes)
            group.shape("path", "receiver-marker", d=f"M{x:.1f} {y - 6:.1f}l5.5 10h-11z")
            for at, anchor in _label_positions(x, y):
                box = _text_box(at, name, anchor)
                if self._contains(box) and not any(_overlap(box, other) for other in taken):
                    taken.append(box)
                    group.text("name", at, name, anchor)
                    break

    def _contains(self, box: Box) -> bool:
        left, top, right, bottom = box
        return left >= 0 and top >= 0 and right <= WIDTH and bottom <= self.canvas.height


def _label_positions(x: float, y: float) -> Iterator[tuple[tuple[float, float], str]]:
    """Positions and anchors of a name at the marker (x, y), the best one first."""
    for shift in (0, -8, -16, 8, 16, 24):
        yield (x + 9, y + 4 + shift), "start"
        yield (x - 9, y + 4 + shift), "end"
    yield (x, y + 18), "middle"
    yield (x, y - 10), "middle"


def _text_box(at: tuple[float, float], text: str, anchor: str) -> Box:
    width = CHARACTER_WIDTH * len(text)
    left = at[0] - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return left, at[1] - LABEL_ASCENT, left + width, at[1] + LABEL_DESCENT


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
