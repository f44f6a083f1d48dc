"""The epochs of a job as chart columns, downsampled without losing peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from training.jobs import history
from training.models import Job
from training.points import columns as point_columns
from training.points import store
from training.points.columns import PointColumns

DIGITS = 6
MAX_DECIMALS = 300


class ColumnsJson(TypedDict):
    epoch: list[int]
    seconds: list[float]
    series: dict[str, list[float | None]]
    total: int


class MetricsJson(TypedDict):
    """`not_finite` names the values that are not numbers, by position: JSON has null for them."""

    step: list[int | None]
    epoch: list[int | None]
    seconds: list[float | None]
    series: dict[str, list[float | None]]
    not_finite: dict[str, dict[str, str]]
    total: int


@dataclass(frozen=True, slots=True)
class Columns:
    """`epoch` [n], and for each series its values [n]; None where an epoch has no value."""

    epoch: list[int]
    seconds: list[float]
    series: dict[str, list[float | None]]
    total: int

    def as_json(self) -> ColumnsJson:
        return {
            "epoch": self.epoch, "seconds": self.seconds, "series": self.series,
            "total": self.total,
        }  # fmt: skip


def series_names(job: Job) -> list[str]:
    return store.series_names(job.pk) if job.has_points else list(history.read(job.pk).newest)


def metrics_json(
    job: Job, names: Sequence[str], max_points: int, *, with_repeats: bool = False
) -> MetricsJson:
    """The columns of the API: by step where points are stored, else by epoch."""
    if job.has_points:
        found = point_columns.read_columns(job.pk, names, max_points, with_repeats=with_repeats)
        return _points_json(names, found)
    by_epoch = columns(job, names, max_points)
    return {
        "step": [None] * len(by_epoch.epoch),
        "epoch": [*by_epoch.epoch],
        "seconds": [*by_epoch.seconds],
        "series": by_epoch.series,
        "not_finite": {},
        "total": by_epoch.total,
    }


def x_axis(found: MetricsJson) -> tuple[str, Sequence[float]]:
    """Epochs if each row has one of its own, else steps; series.js decides the same.

    Where most values share their step, as those of a client that gives none, time.
    """
    epochs = [epoch for epoch in found["epoch"] if epoch is not None]
    if len(set(epochs)) == len(found["epoch"]):
        return "epoch", epochs
    if share_steps(found):
        return "time", [second or 0.0 for second in found["seconds"]]
    return "step", [step or 0 for step in found["step"]]


def share_steps(found: MetricsJson) -> bool:
    """Whether there are more than two values a step, on average of the series."""
    rows = [
        [step for step, value in zip(found["step"], one, strict=True) if value is not None]
        for one in found["series"].values()
    ]
    return sum(map(len, rows)) > 2 * sum(len(set(steps)) for steps in rows)


def _points_json(names: Sequence[str], found: PointColumns) -> MetricsJson:
    seconds = np.round(found.seconds, 3).tolist()
    return {
        "step": found.steps.tolist(),
        "epoch": _epochs(found),
        "seconds": [value if value == value else None for value in seconds],
        "series": {name: _round_significant(found.values[row]) for row, name in enumerate(names)},
        "not_finite": {
            name: special
            for row, name in enumerate(names)
            if (special := _not_finite(found.values[row], found.present[row]))
        },
        "total": found.total,
    }


def _epochs(found: PointColumns) -> list[int | None]:
    return [int(value) if value == value else None for value in found.epochs.tolist()]


def _not_finite(values: NDArray[np.float64], present: NDArray[np.bool_]) -> dict[str, str]:
    odd = np.flatnonzero(present & ~np.isfinite(values)).tolist()
    return {
        str(column): "NaN"
        if np.isnan(values[column])
        else "Infinity"
        if values[column] > 0
        else "-Infinity"
        for column in odd
    }


def _columns_by_epoch(names: Sequence[str], found: PointColumns) -> Columns:
    """The columns for a page; steps replace epochs if some steps have no epoch."""
    epochs = [epoch for epoch in _epochs(found) if epoch is not None]
    return Columns(
        epoch=epochs if len(epochs) == len(found.steps) else found.steps.tolist(),
        seconds=np.round(np.nan_to_num(found.seconds), 2).tolist(),
        series={name: _round_significant(found.values[row]) for row, name in enumerate(names)},
        total=found.total,
    )


def columns(job: Job, names: Sequence[str], max_points: int) -> Columns:
    """At most `max_points` epochs; `seconds` counts the training time up to each one's end."""
    if job.has_points:
        return _columns_by_epoch(names, point_columns.read_columns(job.pk, names, max_points))
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
