"""The trials of a sweep as they stand: their points, their values, which is the best."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from training.jobs.objective import value_at_best_epoch
from training.models import Epoch, Job, Sweep
from training.models.states import Status
from training.sweeps.pruners import TrialHistory
from training.sweeps.search_space import Point, TrialResult

# What is stopped or failed leaves no model, so it cannot be the best.
COUNTS = frozenset({Status.QUEUED, Status.RUNNING, Status.PAUSED, Status.COMPLETED})


@dataclass(frozen=True, slots=True)
class Trial:
    """A training of a sweep, seen as a trial."""

    job: Job
    point: Point
    value: float | None
    is_best: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "trial": self.job.trial, "job_id": str(self.job.pk), "status": self.job.status,
            "parameters": self.point, "value": self.value, "best_epoch": self.job.best_epoch,
            "current_epoch": self.job.current_epoch, "total_epochs": self.job.total_epochs,
            "cancel_reason": self.job.cancel_reason, "is_best": self.is_best,
        }  # fmt: skip


def list_trials(sweep: Sweep) -> list[Trial]:
    """All that are still there, in order."""
    rows = list(sweep.jobs.select_related("owner", "dataset").order_by("trial"))
    values = {job.pk: _value(sweep, job) for job in rows}
    counting = {
        pk: value
        for job in rows
        if (value := values[pk := job.pk]) is not None and job.status in COUNTS
    }
    best = min(counting, key=lambda pk: counting[pk], default=None)
    return [
        Trial(
            job=job,
            point={name: job.config.get(name) for name in sweep.space},
            value=values[job.pk],
            is_best=job.pk == best,
        )
        for job in rows
    ]


def best_trial(found: list[Trial]) -> dict[str, Any] | None:
    """The best as JSON; None before the first epoch."""
    best = next((one for one in found if one.is_best), None)
    return best.as_json() if best else None


def count_trials(found: list[Trial]) -> dict[str, int]:
    return dict(Counter(str(one.job.status) for one in found))


def trial_results(found: list[Trial]) -> list[TrialResult]:
    """What a sampler may learn from: not what failed or was cancelled by somebody."""
    states = {Status.COMPLETED: "completed", Status.QUEUED: "running", Status.RUNNING: "running",
              Status.PAUSED: "running", Status.CANCELLED: "stopped"}  # fmt: skip
    return [
        TrialResult(one.point, one.value, one.job.best_epoch or 0, states[Status(one.job.status)])
        for one in found
        if one.job.status in COUNTS or (one.job.cancel_reason and one.value is not None)
    ]


def trial_histories(sweep: Sweep) -> dict[UUID, TrialHistory]:
    """How each trial went, by job."""
    bests: defaultdict[UUID, list[tuple[int, float]]] = defaultdict(list)
    rows = Epoch.objects.filter(job__sweep=sweep, is_best=True).order_by("epoch")
    names = ("job_id", "epoch", f"metrics__{sweep.objective}")
    for pk, epoch, value in rows.values_list(*names):
        if value is not None:
            bests[pk].append((epoch, value))
    done = {Status.COMPLETED}
    return {
        pk: TrialHistory(bests[pk], math.inf if status in done else reached)
        for pk, status, reached in sweep.jobs.values_list("pk", "status", "current_epoch")
    }


def _value(sweep: Sweep, job: Job) -> float | None:
    return value_at_best_epoch(job, sweep.objective)
