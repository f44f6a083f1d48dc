"""Makes `outlines.npz` from `countries-10m.json` of the npm package world-atlas 2.0.2.

The source is Natural Earth 4.1, 1:10 million, in the public domain, as TopoJSON: an arc that two
countries share is a border, and one that a single country has is a coast.

    python -m training.web.base_map.convert_outlines countries-10m.json
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.web.base_map.outlines import FILE


def _arc_numbers(arcs: list[Any]) -> Iterator[int]:
    for arc in arcs:
        if isinstance(arc, list):
            yield from _arc_numbers(arc)
        else:
            yield arc if arc >= 0 else ~arc  # negative: the same arc, backwards


def _without_map_edge(points: NDArray[np.int32], top: int) -> Iterator[NDArray[np.int32]]:
    """The parts of an arc off the edge of the map, along which countries are cut."""
    x, y = points.T
    is_edge = ((x[1:] == x[:-1]) & ((x[1:] == 0) | (x[1:] == top))) | ((y[1:] == 0) & (y[:-1] == 0))
    is_edge |= np.abs(np.diff(x)) > top // 2
    for part in np.split(points, np.flatnonzero(is_edge) + 1):
        if len(part) > 1:
            yield part


def main(source: str) -> None:
    topology = json.loads(Path(source).read_text())
    used = Counter(
        number
        for country in topology["objects"]["countries"]["geometries"]
        for number in _arc_numbers(country["arcs"])
    )
    lines: list[NDArray[np.int32]] = []
    is_border: list[bool] = []
    for number, deltas in enumerate(topology["arcs"]):
        points = np.cumsum(np.array(deltas, np.int32), axis=0, dtype=np.int32)
        for part in _without_map_edge(points, 99_999):
            lines.append(part)
            is_border.append(used[number] > 1)
    steps = np.concatenate([np.diff(line, axis=0, prepend=line[:1]) for line in lines])
    np.savez_compressed(
        FILE,
        lengths=np.array([len(line) for line in lines], np.int32),
        first=np.array([line[0] for line in lines], np.int32),
        steps=steps.astype(np.int16),
        is_border=np.array(is_border),
        scale=np.array(topology["transform"]["scale"]),
        translate=np.array(topology["transform"]["translate"]),
    )


if __name__ == "__main__":
    main(sys.argv[1])
