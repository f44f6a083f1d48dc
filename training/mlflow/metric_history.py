"""The history of a metric: the points of its series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from numpy.typing import NDArray

from training.mlflow import messages as m
from training.mlflow.errors import invalid
from training.mlflow.pages import decode_token, encode_token
from training.mlflow.run_rows import find_run
from training.models import Job
from training.points.columns import read_series


@dataclass(frozen=True, slots=True)
class _History:
    """`times` are milliseconds since 1970."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.steps)

    def select(self, rows: NDArray[Any] | slice) -> _History:
        return _History(self.steps[rows], self.values[rows], self.times[rows])

    def rows(self) -> Iterable[tuple[int, float, int]]:
        return zip(self.steps.tolist(), self.values.tolist(), self.times.tolist(), strict=True)


def get_history(user: User, request: m.GetMetricHistory) -> m.MetricHistoryResponse:
    """A page of the values, ordered by time, then step and value, as MLflow's store does."""
    job = find_run(user, request.run_id)
    start = decode_token(request.page_token)
    found = _read(job, request.metric_key)
    found = found.select(np.lexsort((found.values, found.steps, found.times)))
    end = start + min(request.max_results, m.MAX_POINTS)
    return m.MetricHistoryResponse.model_construct(
        metrics=[
            m.Metric.model_construct(
                key=request.metric_key, value=value, timestamp=timestamp, step=step
            )
            for step, value, timestamp in found.select(slice(start, end)).rows()
        ],
        next_page_token=encode_token(end) if end < len(found) else None,
    )


def get_history_of_runs(user: User, request: m.GetMetricHistoryBulk) -> m.MetricHistoryBulkResponse:
    """At most `max_results` points per run, evenly spaced, including the first and last."""
    start, end = request.start_step, request.end_step
    if (start is None) != (end is None):
        raise invalid("If either start step or end step are specified, both must be specified.")
    if start is not None and end is not None and start > end:
        raise invalid(
            f"end_step must be greater than start_step. Found start_step={start} and "
            f"end_step={end}."
        )
    jobs = [find_run(user, run_id) for run_id in dict.fromkeys(request.run_ids)]
    found = []
    for job in jobs:
        history = _read(job, request.metric_key)
        if start is not None and end is not None:
            history = history.select((history.steps >= start) & (history.steps <= end))
        history = history.select(np.lexsort((history.values, history.times, history.steps)))
        kept = history.select(_evenly_spaced(len(history), request.max_results))
        found += [
            m.MetricWithRunId.model_construct(
                key=request.metric_key,
                value=value,
                timestamp=timestamp,
                step=step,
                run_id=job.pk.hex,
            )
            for step, value, timestamp in kept.rows()
        ]
    return m.MetricHistoryBulkResponse.model_construct(metrics=found)


def _evenly_spaced(total: int, limit: int) -> NDArray[np.intp]:
    if total <= limit:
        return np.arange(total)
    if limit == 1:
        return np.array([total - 1])
    return np.unique(np.linspace(0, total - 1, limit).round().astype(np.intp))


def _read(job: Job, name: str) -> _History:
    series = read_series(job.pk, name)
    milliseconds = np.round(series.known_times() * 1000).astype(np.int64)
    return _History(series.steps, series.values, milliseconds)
