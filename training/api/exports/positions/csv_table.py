"""Positions as CSV: a row for each sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from training.api.exports.csv_rows import encode_row, text_cell
from training.api.exports.positions.outlines import DECIMALS, is_known
from training.programs.positions import Ellipse, Position

LOCAL_COLUMNS = ("x_m", "y_m")  # after the others, if the dataset is in local meters
COLUMNS = (
    "sample_id", "lat", "lon", "locator",
    "ellipse_68_semi_major_m", "ellipse_68_semi_minor_m", "ellipse_68_azimuth_deg",
    "ellipse_95_semi_major_m", "ellipse_95_semi_minor_m", "ellipse_95_azimuth_deg",
    "receivers",
)  # fmt: skip


def write(positions: Iterable[Position]) -> Iterator[bytes]:
    rest = iter(positions)
    first = list(islice(rest, 1))
    is_local = any("x_m" in one for one in first)
    yield encode_row((*COLUMNS, *(LOCAL_COLUMNS if is_local else ())))
    for one in chain(first, rest):
        place = (round(one["lat"], DECIMALS), round(one["lon"], DECIMALS)) if is_known(one) else ()
        yield encode_row(
            [
                text_cell(one["sample_id"]),
                *(place or (None, None)),
                one["locator"],
                *_axes(one["ellipse_68"]),
                *_axes(one["ellipse_95"]),
                text_cell("; ".join(one["receivers"])),
                *((round(one["x_m"], 3), round(one["y_m"], 3)) if is_local else ()),
            ]
        )


def _axes(ellipse: Ellipse) -> tuple[float, float, float]:
    return (
        round(ellipse["semi_major_m"], 2),
        round(ellipse["semi_minor_m"], 2),
        round(ellipse["azimuth_deg"], 2),
    )
