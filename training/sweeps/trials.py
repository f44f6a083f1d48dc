"""The trials of a sweep: their points, values and histories, and the best one."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict
from uuid import UUID

from training.jobs.objective import value_at_best_epoch
from training.models import Epoch, Job, Sweep
from training.models.states import Status
from training.programs.metrics import Direction
from training.programs.registry import describe_program
from training.sweeps.pruners import TrialHistory
from training.sweeps.search_space import Point, TrialResult

# A failed or cancelled trial leaves no model, so it cannot be the best.
ELIGIBLE = frozenset({Status.QUEUED, Status.RUNNING, Status.PAUSED, Status.COMPLETED})
# The columns of a job that trials need: a thousand jobs have megabytes in the others.
COLUMNS = (
    "sweep", "trial", "name", "kind", "program", "reported", "has_points", "config", "status",
    "stop_requested", "crashes", "cancel_reason", "seq", "current_epoch", "total_epochs",
    "best_epoch", "best_value", "headline_value", "objective_metric", "objective_direction",
)  # fmt: skip
_RESULT_STATES: dict[Status, Literal["completed", "pruned", "running"]] = {
    Status.COMPLETED: "completed",
    Status.QUEUED: "running",
    Status.RUNNING: "running",
    Status.PAUSED: "running",
    Status.CANCELLED: "pruned",
}


class TrialJson(TypedDict):
    trial: int | None
    job_id: str
    status: str
    parameters: Point
    value: float | None
    best_epoch: int | None
    current_epoch: int
    total_epochs: int
    cancel_reason: str
    is_best: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """A job of a sweep. `value` is the sweep's objective at the job's best epoch."""

    job: Job
    point: Point
    value: float | None
    is_best: bool = False

    @property
    def was_stopped(self) -> bool:
        """False if the trial completed before the request to stop reached it."""
        return bool(self.job.cancel_reason) and self.job.status != Status.COMPLETED

    def as_json(self) -> TrialJson:
        return {
            "trial": self.job.trial, "job_id": str(self.job.pk), "status": self.job.status,
            "parameters": self.point, "value": self.value, "best_epoch": self.job.best_epoch,
            "current_epoch": self.job.current_epoch, "total_epochs": self.job.total_epochs,
            "cancel_reason": self.job.cancel_reason if self.was_stopped else "",
            "is_best": self.is_best,
        }  # fmt: skip


def objective_direction(sweep: Sweep) -> Direction:
    return describe_program(sweep.program).direction_of(sweep.objective)


def list_trials(sweep: Sweep) -> list[Trial]:
    jobs = list(sweep.jobs.only(*COLUMNS).order_by("trial"))
    values = {job.pk: value_at_best_epoch(job, sweep.objective) for job in jobs}
    eligible: dict[UUID, float] = {
        job.pk: value
        for job in jobs
        if (value := values[job.pk]) is not None and job.status in ELIGIBLE
    }
    pick = min if objective_direction(sweep) == "minimize" else max
    best = pick(eligible, key=lambda pk: eligible[pk], default=None)
    return [
        Trial(
            job=job,
            point={name: job.config.get(name) for name in sweep.space},
            value=values[job.pk],
            is_best=job.pk == best,
        )
        for job in jobs
    ]


def best_trial(trials: Sequence[Trial]) -> TrialJson | None:
    best = next((trial for trial in trials if trial.is_best), None)
    return best.as_json() if best else None


def count_trials(trials: Sequence[Trial]) -> dict[str, int]:
    return dict(Counter(str(trial.job.status) for trial in trials))


def trial_results(trials: Sequence[Trial]) -> list[TrialResult]:
    """What a sampler learns from: all trials except failed ones and those that a user cancelled."""
    return [
        TrialResult(
            trial.point,
            trial.value,
            trial.job.best_epoch or 0,
            _RESULT_STATES[Status(trial.job.status)],
        )
        for trial in trials
        if trial.job.status in ELIGIBLE or (trial.job.cancel_reason and trial.value is not None)
    ]


def trial_histories(sweep: Sweep) -> dict[UUID, TrialHistory]:
    bests: defaultdict[UUID, list[tuple[int, float]]] = defaultdict(list)
    rows = Epoch.objects.filter(job__sweep=sweep, is_best=True).order_by("epoch")
    for pk, epoch, value in rows.values_list("job_id", "epoch", f"metrics__{sweep.objective}"):
        if value is not None:
            bests[pk].append((epoch, value))
    return {
        pk: TrialHistory(bests[pk], math.inf if status == Status.COMPLETED else reached)
        for pk, status, reached in sweep.jobs.values_list("pk", "status", "current_epoch")
    }
