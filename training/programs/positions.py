"""Estimated positions of transmitters: the result of a prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NotRequired, TypedDict

import orjson


class Ellipse(TypedDict):
    """Semi-axes in meters; azimuth of the major axis, clockwise from north, 0 to 180 degrees."""

    semi_major_m: float
    semi_minor_m: float
    azimuth_deg: float


class Position(TypedDict):
    """A position in degrees; rows and columns of the covariance are east and north.

    `locator` is its Maidenhead locator, `receivers` are those that heard the transmission. `x_m`
    and `y_m` are the local coordinates of a dataset in meters.
    """

    sample_id: str
    lat: float
    lon: float
    covariance_m2: list[list[float]]
    ellipse_68: Ellipse
    ellipse_95: Ellipse
    locator: str
    receivers: list[str]
    x_m: NotRequired[float]
    y_m: NotRequired[float]


class Positions:
    """The positions of a request, which stay JSON until they are read.

    200,000 of them take a gigabyte as objects. Each block is a JSON array.
    """

    def __init__(self, blocks: Sequence[bytes], count: int) -> None:
        self._blocks, self._count = blocks, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Position]:
        for block in self._blocks:
            yield from orjson.loads(block)

    def as_json(self) -> Iterator[bytes]:
        """The parts of one JSON array."""
        yield b"["
        for index, block in enumerate(self._blocks):
            yield b"," * (index > 0) + block.strip()[1:-1]
        yield b"]"
