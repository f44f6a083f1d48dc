"""The epochs of a job as columns ready for a chart, thinned so that no peak is lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.models import Epoch, Job

DIGITS = 6


@dataclass(frozen=True, slots=True)
class Columns:
    """`epoch` [n], and for each series its values [n], None where there is none."""

    epoch: list[int]
    seconds: list[float]
    series: dict[str, list[float | None]]
    total: int

    def as_json(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch, "seconds": self.seconds, "series": self.series,
            "total": self.total,
        }  # fmt: skip


def known(job: Job) -> list[str]:
    """The names of what each epoch of this job reports."""
    newest = job.epochs.order_by("-epoch").values_list("metrics", flat=True).first()
    return sorted(newest or {})


def columns(job: Job, names: Sequence[str], max_points: int) -> Columns:
    """At most `max_points` epochs; `seconds` counts the training time up to each one's end."""
    rows = list(Epoch.objects.filter(job=job).values_list("epoch", "seconds", "metrics"))
    values = np.array(
        [[_number(metrics.get(name)) for _, _, metrics in rows] for name in names], float
    ).reshape(len(names), len(rows))
    spent = np.cumsum([seconds for _, seconds, _ in rows]).tolist()
    kept = thinned(values, max_points).tolist()
    return Columns(
        epoch=[rows[index][0] for index in kept],
        seconds=[round(spent[index], 2) for index in kept],
        series={
            name: [_short(value) for value in values[row, kept].tolist()]
            for row, name in enumerate(names)
        },
        total=len(rows),
    )


def thinned(values: NDArray[np.floating], limit: int) -> NDArray[np.intp]:
    """Which of the N columns of [S, N] to keep: at most `limit`, the first and last among them.

    Of each of equally long stretches those stay at which any row has its least or greatest value,
    so a spike of one epoch is still there.
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


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _short(value: float) -> float | None:
    """No more digits than a screen has pixels."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
