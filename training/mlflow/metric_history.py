"""The history of a metric: the points of its series."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from django.contrib.auth.models import User
from numpy.typing import NDArray

from training.mlflow import messages as m
from training.mlflow.errors import invalid
from training.mlflow.pages import decode_token, encode_token
from training.mlflow.run_rows import find_run
from training.models import Job
from training.points.columns import read_series
from training.points.encoding import Series
from training.points.store import TIME


def get_history(user: User, request: m.GetMetricHistory) -> m.MetricHistoryResponse:
    job = find_run(user, request.run_id)
    found, start = read_series(job.pk, request.metric_key), decode_token(request.page_token)
    end = start + (request.max_results or len(found))
    return m.MetricHistoryResponse.model_construct(
        metrics=[
            m.Metric.model_construct(
                key=request.metric_key, value=value, timestamp=timestamp, step=step
            )
            for step, value, timestamp in _rows(job, found.between(start, end))
        ],
        next_page_token=encode_token(end) if end < len(found) else None,
    )


def get_history_of_runs(user: User, request: m.GetMetricHistoryBulk) -> m.MetricHistoryBulkResponse:
    """Of each run at most `max_results` of the points, evenly spaced, with the first and last."""
    start, end = request.start_step, request.end_step
    if (start is None) != (end is None):
        raise invalid("If either start step or end step are specified, both must be specified.")
    if start is not None and end is not None and start > end:
        raise invalid(
            f"end_step must be greater than start_step. Found start_step={start} and "
            f"end_step={end}."
        )
    jobs = [find_run(user, run_id) for run_id in request.run_ids]
    found = []
    for job in jobs:
        series = read_series(job.pk, request.metric_key)
        if start is not None and end is not None:
            inside = (series.steps >= start) & (series.steps <= end)
            series = Series(series.steps[inside], series.values[inside])
        kept = _evenly_spaced(len(series), request.max_results)
        rows = _rows(job, Series(series.steps[kept], series.values[kept]))
        found += [
            m.MetricWithRunId.model_construct(
                key=request.metric_key,
                value=value,
                timestamp=timestamp,
                step=step,
                run_id=job.pk.hex,
            )
            for step, value, timestamp in rows
        ]
    return m.MetricHistoryBulkResponse.model_construct(metrics=found)


def _evenly_spaced(total: int, limit: int) -> NDArray[np.intp]:
    if total <= limit:
        return np.arange(total)
    if limit == 1:
        return np.array([total - 1])
    return np.unique(np.linspace(0, total - 1, limit).round().astype(np.intp))


def _rows(job: Job, series: Series) -> Iterable[tuple[int, float, int]]:
    """Step, value and milliseconds since 1970 of each point."""
    if not len(series):
        return []
    times = read_series(job.pk, TIME)
    at = times.values[np.searchsorted(times.steps, series.steps)]
    stamps = np.round(at * 1000).astype(np.int64)
    return zip(series.steps.tolist(), series.values.tolist(), stamps.tolist(), strict=True)
