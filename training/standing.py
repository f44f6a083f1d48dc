"""How a job stands, as the pages and the desk say it: its state, its pace, its yardsticks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count
from django.utils import timezone

from training import workers
from training.models import Job, JobEvent, TrainedModel, Worker
from training.states import Status, Stop

# The pace is that of the newer half of so many epochs, the newest of the present attempt, and of
# FEWEST where there are so many: a few tell too little, and old ones what no longer holds.
FEWEST, MOST = 20, 120

WORDS = {
    "queued": "Queued", "running": "Running", "pausing": "Pausing", "cancelling": "Cancelling",
    "paused": "Paused", "completed": "Completed", "failed": "Failed", "cancelled": "Cancelled",
    "interrupted": "Interrupted",
}  # fmt: skip


def state(job: Job) -> str:
    """A key of WORDS: what is, what was asked, and whether it lost its worker."""
    if job.status == Status.RUNNING and job.stop_requested:
        return "pausing" if job.stop_requested == Stop.PAUSE else "cancelling"
    if job.status == Status.QUEUED and job.crashes:
        return "interrupted"
    return job.status


def may(job: Job) -> dict[str, bool]:
    """What can be asked of it now."""
    training = job.kind == Job.Kind.TRAINING
    active = job.status in (Status.QUEUED, Status.RUNNING)
    return {
        "pause": active and not job.stop_requested,
        "resume": job.status in (Status.PAUSED, Status.FAILED),
        "cancel": (active or job.status == Status.PAUSED) and job.stop_requested != Stop.CANCEL,
        "clone": training,
    }


def epoch_ends(job: Job) -> list[datetime]:
    """When the newest epochs of the present attempt ended, the oldest first."""
    rows = job.epochs.filter(attempt=job.attempt).order_by("-epoch")
    return sorted(rows.values_list("at", flat=True)[:MOST])


def pace(ends: list[datetime]) -> float | None:
    """Seconds an epoch takes; None before there are two. The first ever is in no pace."""
    newer = ends[-max(FEWEST + 1, len(ends) // 2) :]
    if len(newer) < 2:
        return None
    return (newer[-1] - newer[0]).total_seconds() / (len(newer) - 1)


def seconds_left(job: Job, ends: list[datetime]) -> float | None:
    """Until the last epoch; None where nobody knows."""
    each = pace(ends)
    if job.status != Status.RUNNING or each is None:
        return None
    since = (timezone.now() - ends[-1]).total_seconds()
    return max(0.0, each * (job.total_epochs - job.current_epoch) - min(since, each))


def may_end_sooner(job: Job) -> bool:
    """Whether early stopping ends it before its last epoch if none is better any more."""
    patience = int(job.config.get("patience", job.total_epochs))
    return (job.best_epoch or 0) + patience < job.total_epochs


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """What to compare with, on the test split of the job's dataset: metres, None where unknown."""

    bound: float | None = None
    baseline: float | None = None
    baseline_name: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "bound": self.bound, "baseline": self.baseline, "baseline_name": self.baseline_name,
        }  # fmt: skip


def yardsticks(job: Job, evaluation: dict[str, Any] | None) -> Yardsticks:
    """Bound and best baseline: the job's own, or else of another model on the same dataset.

    Neither depends on the network, so a job that still trains can be held against them.
    """
    if evaluation is None:
        same = TrainedModel.objects.filter(job__dataset=job.dataset_id).exclude(job=job)
        evaluation = same.values_list("evaluation", flat=True).first()
    if evaluation is None:
        return Yardsticks()
    named = {
        name: found["rmse_m"]
        for name, found in evaluation.get("baselines", {}).items()
        if found.get("rmse_m") is not None
    }
    best = min(named, key=lambda name: named[name], default="")
    return Yardsticks(evaluation.get("bound_rmse_m"), named.get(best), best.replace("_", " "))


def timeline(job: Job, limit: int = 60) -> list[JobEvent]:
    """What happened beside the epochs, the newest first."""
    fleeting = ("training:progress", "dataset:generation_progress")
    return list(job.events.exclude(event__in=fleeting).order_by("-seq")[:limit])


def resumed_after(job: Job) -> list[int]:
    """The epochs after which the training rested, in order."""
    rows = job.events.filter(event="training:started").order_by("seq")
    found = (row["resumed_from_epoch"] for row in rows.values_list("data", flat=True))
    return [epoch for epoch in found if epoch]


@dataclass(frozen=True, slots=True)
class Hand:
    """One worker: what it is doing, and when it was last seen."""

    name: str
    slots: int
    running: int
    seen_at: datetime
    state: str  # busy, idle or lost


def crew() -> list[Hand]:
    """Every worker that has been seen lately."""
    gone = set(Worker.objects.filter(workers.lost()).values_list("pk", flat=True))
    rows = Job.objects.filter(status=Status.RUNNING).order_by().values_list("worker")
    busy = dict(rows.annotate(count=Count("pk")).values_list("worker", "count"))

    def state(one: Worker) -> str:
        return "lost" if one.pk in gone else "busy" if busy.get(one.name) else "idle"

    return [
        Hand(one.name, one.slots, busy.get(one.name, 0), one.seen_at, state(one))
        for one in Worker.objects.all()
    ]
