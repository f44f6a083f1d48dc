"""The result of a job by the name of a metric."""

from __future__ import annotations

from training.models import Job
from training.programs.registry import get_program


def value_at_best_epoch(job: Job, metric: str) -> float | None:
    """The objective or the headline metric at the best epoch; None for any other metric."""
    if metric == job.objective_metric:
        return job.best_value
    if metric == get_program(job.program).headline:
        return job.headline_value
    return None
