"""The displayed status of a job, the actions it allows, and its timeline."""

from __future__ import annotations

from training.models import Job, JobEvent
from training.models.states import Status, Stop

STATUS_LABELS = {
    "queued": "Queued", "running": "Running", "pausing": "Pausing", "cancelling": "Cancelling",
    "paused": "Paused", "completed": "Completed", "failed": "Failed", "cancelled": "Cancelled",
    "interrupted": "Interrupted",
}  # fmt: skip


def display_status(job: Job) -> str:
    """A key of WORDS: what is, what was asked, and whether it lost its worker."""
    if job.status == Status.RUNNING and job.stop_requested:
        return "pausing" if job.stop_requested == Stop.PAUSE else "cancelling"
    if job.status == Status.QUEUED and job.crashes:
        return "interrupted"
    return job.status


def allowed_actions(job: Job) -> dict[str, bool]:
    """What can be asked of it now."""
    training = job.kind == Job.Kind.TRAINING
    active = job.status in (Status.QUEUED, Status.RUNNING)
    return {
        "pause": active and not job.stop_requested,
        "resume": job.status in (Status.PAUSED, Status.FAILED),
        "cancel": (active or job.status == Status.PAUSED) and job.stop_requested != Stop.CANCEL,
        "clone": training,
    }


def timeline(job: Job, limit: int = 60) -> list[JobEvent]:
    """What happened beside the epochs, the newest first."""
    fleeting = ("training:progress", "dataset:generation_progress")
    return list(job.events.exclude(event__in=fleeting).order_by("-seq")[:limit])
