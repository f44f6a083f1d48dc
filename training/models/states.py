"""The states of a job, the stops that can be requested, and the allowed transitions."""

from __future__ import annotations

from django.db import models


class Status(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stop(models.TextChoices):
    """The stop that was requested of a running job; a separate fact from its status."""

    NONE = "", "none"
    PAUSE = "pause"
    CANCEL = "cancel"


class Needs(models.TextChoices):
    """The hardware that a job requires."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


# `training.jobs.lifecycle.change` allows no other transitions.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset(
        {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PAUSED, Status.QUEUED}
    ),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED}),
    # To running: a reported job whose reporter was silent and reports again.
    Status.FAILED: frozenset({Status.QUEUED, Status.RUNNING}),
    Status.COMPLETED: frozenset({Status.RUNNING}),
    Status.CANCELLED: frozenset(),
}

# Jobs that neither run nor wait to run may be deleted.
DELETABLE = frozenset({Status.PAUSED, Status.COMPLETED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset({Status.QUEUED, Status.RUNNING})


def sources(target: Status) -> frozenset[Status]:
    return frozenset(status for status, targets in TRANSITIONS.items() if target in targets)


def direct_sources(target: Status) -> frozenset[Status]:
    """Like `sources`, without running: only its attempt ends a running job."""
    return sources(target) - {Status.RUNNING}
