"""What a job can be, what can be asked of it, and which way leads where."""

from __future__ import annotations

from django.db import models


class Status(models.TextChoices):
    """What is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stop(models.TextChoices):
    """What was asked of a running job: a fact apart from what is."""

    NONE = "", "none"
    PAUSE = "pause"
    CANCEL = "cancel"


class Needs(models.TextChoices):
    """What the worker has to have."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset(
        {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PAUSED, Status.QUEUED}
    ),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.COMPLETED: frozenset(),
    Status.CANCELLED: frozenset(),
}

# Nothing runs and nothing waits to run: such a job may be deleted.
DELETABLE = frozenset({Status.PAUSED, Status.COMPLETED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset({Status.QUEUED, Status.RUNNING})
