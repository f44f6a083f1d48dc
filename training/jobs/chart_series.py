"""The epochs of a job as chart columns, downsampled without losing peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.jobs import history
from training.models import Job

DIGITS = 6
MAX_DECIMALS = 300


@dataclass(frozen=True, slots=True)
class Columns:
    """`epoch` [n], and for each series its values [n]; None where an epoch has no value."""

    epoch: list[int]
    seconds: list[float]
    series: dict[str, list[float | None]]
    total: int

    def as_json(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch, "seconds": self.seconds, "series": self.series,
            "total": self.total,
        }  # fmt: skip


def series_names(job: Job) -> list[str]:
    """The names of the metrics that the newest epoch of this job reports."""
    return list(history.read(job.pk).newest)


def columns(job: Job, names: Sequence[str], max_points: int) -> Columns:
    """At most `max_points` epochs; `seconds` counts the training time up to each one's end."""
    found = history.read(job.pk)
    values = np.array([found.series(name) for name in names])
    values = values.reshape(len(names), len(found.epochs))
    kept = downsample_minmax(values, max_points)
    return Columns(
        epoch=found.epochs[kept].tolist(),
        seconds=np.round(np.cumsum(found.seconds)[kept], 2).tolist(),
        series={name: _round_significant(values[row, kept]) for row, name in enumerate(names)},
        total=len(found.epochs),
    )


def downsample_minmax(values: NDArray[np.floating], limit: int) -> NDArray[np.intp]:
    """Indices of at most `limit` of the N columns of [S, N], including the first and last.

    From each of equally long intervals, the columns where any row has its minimum or maximum are
    kept, so a spike of one epoch remains visible.
    """
    rows, count = values.shape
    if count <= limit:
        return np.arange(count)
    stretches = max(1, (limit - 2) // (2 * max(rows, 1)))
    edges = np.linspace(0, count, stretches + 1).astype(int)
    low, high = np.nan_to_num(values, nan=np.inf), np.nan_to_num(values, nan=-np.inf)
    extremes = [
        start + found
        for start, end in pairwise(edges)
        for found in (low[:, start:end].argmin(1), high[:, start:end].argmax(1))
    ]
    return np.unique(np.concatenate([[0, count - 1], *extremes]))[-limit:]


def _round_significant(values: NDArray[np.floating]) -> list[float | None]:
    """Round to DIGITS significant digits, more than a screen resolves; None for non-finite values.

    Scales by whole powers of ten only, which are exact, so that the result is the float nearest to
    the short decimal and is written as such.
    """
    there = np.isfinite(values)
    sizes = np.abs(np.where(there & (values != 0), values, 1.0))
    places = DIGITS - 1 - np.floor(np.log10(sizes)).astype(int)
    up, down = 10.0 ** np.clip(places, 0, MAX_DECIMALS), 10.0 ** np.clip(-places, 0, MAX_DECIMALS)
    short = np.round(np.where(there, values, 0.0) / down * up) / up * down
    pairs = zip(short.tolist(), there.tolist(), strict=True)
    return [value if is_there else None for value, is_there in pairs]
