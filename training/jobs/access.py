"""Whether a job may continue: its owner can still use its dataset and its initial checkpoint."""

from __future__ import annotations

import re
from uuid import UUID

from training.accounts import permissions
from training.models import Job

_JOB_FOLDER = re.compile(r"(?:^|/)jobs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")


def lost_access(job: Job) -> str:
    """Why the job may not continue; empty if it may."""
    return permissions.lost_access(job.owner, job.dataset) or _lost_origin(job)


def _lost_origin(job: Job) -> str:
    """Why the job cannot start from another job's checkpoint; empty once it has its own."""
    found = _JOB_FOLDER.search(job.init_from)
    if found is None or job.checkpoint_path:
        return ""
    rows = Job.objects.filter(pk=UUID(found.group(1)))
    origin = rows.first()
    if origin is None or permissions.visible_to(rows, job.owner).exists():
        return ""  # without its files the training fails with their names
    return (
        f"Job {str(origin)!r}, whose checkpoint it starts from, is not shared with "
        f"{job.owner.username}."
    )
