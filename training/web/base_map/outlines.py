"""Coasts and borders of the world: Natural Earth, 1:10 million, rounded to about 200 m."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("outlines.npz")
ATTRIBUTION = "Coasts and borders: Natural Earth"


@dataclass(frozen=True, slots=True)
class Outline:
    """Part of a coast or border: latitudes and longitudes in degrees, the latter unwrapped."""

    is_border: bool
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Lines:
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    ends: NDArray[np.int64]  # line i is lon[ends[i]:ends[i + 1]]
    is_border: NDArray[np.bool_]


@cache
def _read() -> _Lines:
    """About 8 MB, read when the first map is drawn."""
    with np.load(FILE) as file:
        lengths, steps = file["lengths"], file["steps"].astype(np.int32)
        ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        # Each line begins with a step of 0; the sum of the lines before it is taken off.
        total = np.cumsum(steps, axis=0)
        base = file["first"] - total[ends[:-1]]
        grid = total + np.repeat(base, lengths, axis=0)
        lon, lat = (grid * file["scale"] + file["translate"]).T
        return _Lines(np.ascontiguousarray(lon), np.ascontiguousarray(lat), ends, file["is_border"])


def outlines_within(lat: tuple[float, float], lon: tuple[float, float]) -> Iterator[Outline]:
    """The parts of all lines within the bounds in degrees, each with one point more at its ends.

    The bounds of the longitude may be beyond 180 degrees on either side, as may the answer.
    """
    lines, center = _read(), (lon[0] + lon[1]) / 2
    unwrapped = (lines.lon - center + 180.0) % 360.0 - 180.0 + center
    is_inside = (
        (lines.lat >= lat[0])
        & (lines.lat <= lat[1])
        & (unwrapped >= lon[0])
        & (unwrapped <= lon[1])
    )
    starts = lines.ends[:-1]
    for line in np.flatnonzero(np.logical_or.reduceat(is_inside, starts)):
        first, end = lines.ends[line], lines.ends[line + 1]
        inside = is_inside[first:end]
        shown = inside.copy()
        shown[1:] |= inside[:-1]
        shown[:-1] |= inside[1:]
        # A line that crosses the far meridian would be drawn through the whole map.
        jumps = np.abs(np.diff(unwrapped[first:end])) > 180.0
        changes = np.flatnonzero((shown[1:] != shown[:-1]) | jumps) + 1
        for part in np.split(np.arange(first, end), changes):
            if shown[part[0] - first] and len(part) > 1:
                yield Outline(bool(lines.is_border[line]), lines.lat[part], unwrapped[part])
