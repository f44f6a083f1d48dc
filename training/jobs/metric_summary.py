"""Summary of each metric of a training: last value, best value, value at the best epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from training.jobs import history
from training.jobs.history import History
from training.models import Job
from training.points.series_summary import Extreme, SeriesSummary, summarize_series
from training.programs.metrics import Direction
from training.programs.registry import describe_program


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """`best` needs a direction: it is None for a metric that has none.

    Best means best of all epochs or steps; `at_best_epoch` is the value in the epoch that is best
    by the job's objective.
    """

    name: str
    direction: Direction | None
    last: float | None
    best: Extreme | None
    at_best_epoch: float | None

    @property
    def last_not_finite(self) -> str | None:
        """NaN, Infinity or -Infinity, if the last value is that."""
        if self.last is None or math.isfinite(self.last):
            return None
        return "NaN" if math.isnan(self.last) else "Infinity" if self.last > 0 else "-Infinity"


class ExtremeJson(TypedDict):
    value: float
    step: int
    epoch: int | None


class MetricSummaryJson(TypedDict):
    name: str
    direction: Direction | None
    last: float | None
    last_not_finite: str | None
    best: ExtremeJson | None
    at_best_epoch: float | None


class MetricSummariesJson(TypedDict):
    best_epoch: int | None
    results: list[MetricSummaryJson]


def as_json(job: Job, summaries: Sequence[MetricSummary]) -> MetricSummariesJson:
    return {
        "best_epoch": job.best_epoch,
        "results": [
            {
                "name": one.name,
                "direction": one.direction,
                "last": _finite(one.last),
                "last_not_finite": one.last_not_finite,
                "best": _extreme_json(one.best) if one.best else None,
                "at_best_epoch": _finite(one.at_best_epoch),
            }
            for one in summaries
        ],
    }


def _extreme_json(extreme: Extreme) -> ExtremeJson:
    return {"value": extreme.value, "step": extreme.step, "epoch": extreme.epoch}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def summarize_metrics(job: Job, names: Sequence[str]) -> list[MetricSummary]:
    """Summaries of the named metrics; unknown names are left out."""
    if job.has_points:
        found = summarize_series(job.pk, names, job.best_epoch)
    else:
        epochs = history.read(job.pk)
        found = {name: _summarize(epochs, name, job.best_epoch) for name in names}
    directions = {name: _direction(job, name) for name in found}
    return [
        MetricSummary(
            name=name,
            direction=directions[name],
            last=found[name].last,
            best=_best(found[name], directions[name]),
            at_best_epoch=found[name].at_epoch,
        )
        for name in names
        if name in found
    ]


def _direction(job: Job, name: str) -> Direction | None:
    if name == job.objective_metric:
        return "maximize" if job.objective_direction == "maximize" else "minimize"
    return describe_program(job.program).metrics.describe(name).direction


def _best(found: SeriesSummary, direction: Direction | None) -> Extreme | None:
    if direction is None:
        return None
    return found.lowest if direction == "minimize" else found.highest


def _summarize(epochs: History, name: str, best_epoch: int | None) -> SeriesSummary:
    values = epochs.series(name)
    finite = np.flatnonzero(np.isfinite(values))
    at_best = np.flatnonzero(epochs.epochs == best_epoch)

    def extreme(position: int) -> Extreme:
        epoch = int(epochs.epochs[position])
        return Extreme(float(values[position]), epoch, epoch)

    return SeriesSummary(
        last=_number(values[-1]) if len(values) else None,
        lowest=extreme(int(finite[values[finite].argmin()])) if len(finite) else None,
        highest=extreme(int(finite[values[finite].argmax()])) if len(finite) else None,
        at_epoch=_number(values[at_best[0]]) if len(at_best) else None,
    )


def _number(value: float) -> float | None:
    """None for a missing value: an epoch's row has null for what is not a number."""
    return None if np.isnan(value) else float(value)
