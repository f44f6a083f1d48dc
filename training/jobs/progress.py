"""The speed of a training, the time left, and where it was resumed."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from training.models import Job
from training.models.states import Status

# The speed is measured over the newer half of at most MAX_PACE_EPOCHS epochs of the present
# attempt, and over at least MIN_PACE_EPOCHS where there are as many: few epochs are noisy, and old
# ones out of date.
MIN_PACE_EPOCHS, MAX_PACE_EPOCHS = 20, 120


def epoch_ends(job: Job) -> list[datetime]:
    rows = job.epochs.filter(attempt=job.attempt).order_by("-epoch")
    return sorted(rows.values_list("at", flat=True)[:MAX_PACE_EPOCHS])


def seconds_per_epoch(ends: list[datetime]) -> float | None:
    """Mean seconds per epoch; None before two epochs. The first epoch is never included."""
    newer = ends[-max(MIN_PACE_EPOCHS + 1, len(ends) // 2) :]
    if len(newer) < 2:
        return None
    return (newer[-1] - newer[0]).total_seconds() / (len(newer) - 1)


def seconds_left(job: Job, ends: list[datetime]) -> float | None:
    if job.status != Status.RUNNING:
        return None
    if job.estimated_end_at:
        return max(0.0, (job.estimated_end_at - timezone.now()).total_seconds())
    each = seconds_per_epoch(ends)
    if each is None or not job.total_epochs:
        return None
    since = (timezone.now() - ends[-1]).total_seconds()
    return max(0.0, each * (job.total_epochs - job.current_epoch) - min(since, each))


def may_stop_early(job: Job) -> bool:
    patience = job.config.get("patience")
    if type(patience) is not int:  # another program, or a reported job, may mean something else
        return False
    return (job.best_epoch or 0) + patience < job.total_epochs


def resumed_epochs(job: Job) -> list[int]:
    rows = job.events.filter(event="training:started").order_by("seq")
    found = (row["resumed_from_epoch"] for row in rows.values_list("data", flat=True))
    return [epoch for epoch in found if epoch]
