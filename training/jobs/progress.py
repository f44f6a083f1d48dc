"""The speed of a training, the time left, and where it was resumed."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from training.models import Job
from training.models.states import Status

# The pace is that of the newer half of so many epochs, the newest of the present attempt, and of
# FEWEST where there are so many: a few tell too little, and old ones what no longer holds.
MIN_PACE_EPOCHS, MAX_PACE_EPOCHS = 20, 120


def epoch_ends(job: Job) -> list[datetime]:
    """When the newest epochs of the present attempt ended, the oldest first."""
    rows = job.epochs.filter(attempt=job.attempt).order_by("-epoch")
    return sorted(rows.values_list("at", flat=True)[:MAX_PACE_EPOCHS])


def seconds_per_epoch(ends: list[datetime]) -> float | None:
    """Seconds an epoch takes; None before there are two. The first ever is in no pace."""
    newer = ends[-max(MIN_PACE_EPOCHS + 1, len(ends) // 2) :]
    if len(newer) < 2:
        return None
    return (newer[-1] - newer[0]).total_seconds() / (len(newer) - 1)


def seconds_left(job: Job, ends: list[datetime]) -> float | None:
    """Until the last epoch; None where nobody knows."""
    each = seconds_per_epoch(ends)
    if job.status != Status.RUNNING or each is None:
        return None
    since = (timezone.now() - ends[-1]).total_seconds()
    return max(0.0, each * (job.total_epochs - job.current_epoch) - min(since, each))


def may_stop_early(job: Job) -> bool:
    """Whether early stopping ends it before its last epoch if none is better any more."""
    patience = int(job.config.get("patience", job.total_epochs))
    return (job.best_epoch or 0) + patience < job.total_epochs


def resumed_epochs(job: Job) -> list[int]:
    """The epochs after which the training rested, in order."""
    rows = job.events.filter(event="training:started").order_by("seq")
    found = (row["resumed_from_epoch"] for row in rows.values_list("data", flat=True))
    return [epoch for epoch in found if epoch]
