"""Whether a job may continue: its owner can still use its dataset and its initial checkpoint."""

from __future__ import annotations

from training.accounts import permissions
from training.jobs.origins import origin_id
from training.models import Job


def lost_access(job: Job) -> str:
    """The reason why the job may not continue, else empty."""
    return permissions.lost_access(job.owner, job.dataset) or _lost_origin(job)


def _lost_origin(job: Job) -> str:
    """The reason why the job cannot start from another job's checkpoint, else empty."""
    identifier = origin_id(job)
    if identifier is None or job.checkpoint_path:
        return ""
    rows = Job.objects.filter(pk=identifier)
    origin = rows.first()
    if origin is None or permissions.visible_to(rows, job.owner).exists():
        return ""  # without its files the training fails with their names
    return (
        f"Job {str(origin)!r}, whose checkpoint it starts from, is not shared with "
        f"{job.owner.username}."
    )
