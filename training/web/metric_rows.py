"""The table of metrics on a job's page: last, best, and at the best epoch."""

from __future__ import annotations

from dataclasses import dataclass

from training.jobs.metric_summary import MetricSummary, summarize_metrics
from training.models import Job
from training.programs.manifest import Program
from training.programs.metrics import Direction, Metric
from training.web import formatting


@dataclass(frozen=True, slots=True)
class MetricRow:
    """Formatted values of one metric."""

    metric: Metric
    is_objective: bool
    last: str
    best: str
    best_value: float | None
    direction: Direction | None
    best_at: str
    at_best_epoch: str


def metric_rows(job: Job, program: Program, limit: int) -> list[MetricRow]:
    """Rows of the first `limit` metrics that the job reported, the objective first."""
    return [_row(job, program, one) for one in summarize_metrics(job, _names(program)[:limit])]


def _names(program: Program) -> list[str]:
    first = program.objective_metric
    return sorted(program.metrics, key=lambda name: name != first)


def _row(job: Job, program: Program, found: MetricSummary) -> MetricRow:
    metric = program.metrics[found.name]
    show = formatting.formatter(metric)
    best_at = formatting.MISSING
    if found.best:
        best_at = (
            f"step {found.best.step:,}"
            if found.best.epoch is None
            else f"epoch {found.best.epoch:,}"
        )
    return MetricRow(
        metric=metric,
        is_objective=found.name == program.objective_metric,
        last=found.last_not_finite or show(found.last),
        best=show(found.best.value) if found.best else formatting.MISSING,
        best_value=found.best.value if found.best else None,
        direction=found.direction,
        best_at=best_at,
        at_best_epoch=show(found.at_best_epoch),
    )
