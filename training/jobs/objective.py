"""The result of a job by the name of a metric."""

from __future__ import annotations

from training.models import Job
from training.programs.metrics import Metric
from training.programs.registry import describe_program


def value_at_best_epoch(job: Job, metric: str) -> float | None:
    """The objective or the headline metric at the best epoch; None for any other metric."""
    if metric == job.objective_metric:
        return job.best_value
    if metric == describe_program(job.program).headline:
        return job.headline_value
    return None


def headline_name(job: Job) -> str:
    """The metric that lists show: the program's, or the objective of a reported job."""
    if job.reported:
        return job.objective_metric
    return describe_program(job.program).headline_name


def headline_metric(job: Job) -> Metric:
    return describe_program(job.program).metrics.describe(headline_name(job))
