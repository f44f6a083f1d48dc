"""Positions as CSV: a row for each sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.api.exports.csv_rows import encode_row, text_cell
from training.api.exports.positions.outlines import DECIMALS, is_known
from training.programs.positions import Ellipse, Position

COLUMNS = (
    "sample_id", "lat", "lon", "locator",
    "ellipse_68_semi_major_m", "ellipse_68_semi_minor_m", "ellipse_68_azimuth_deg",
    "ellipse_95_semi_major_m", "ellipse_95_semi_minor_m", "ellipse_95_azimuth_deg",
    "receivers",
)  # fmt: skip


def write(positions: Sequence[Position]) -> Iterator[bytes]:
    yield encode_row(COLUMNS)
    for one in positions:
        place = (round(one["lat"], DECIMALS), round(one["lon"], DECIMALS)) if is_known(one) else ()
        yield encode_row(
            [
                text_cell(one["sample_id"]),
                *(place or (None, None)),
                one["locator"],
                *_axes(one["ellipse_68"]),
                *_axes(one["ellipse_95"]),
                text_cell("; ".join(one["receivers"])),
            ]
        )


def _axes(ellipse: Ellipse) -> tuple[float, float, float]:
    return (
        round(ellipse["semi_major_m"], 2),
        round(ellipse["semi_minor_m"], 2),
        round(ellipse["azimuth_deg"], 2),
    )
