"""How much of its owner's disk space a job uses: `Job.disk_bytes`, which limits sum up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from training.accounts import limits
from training.models import Dataset, Job
from training.storage.disk_usage import dataset_bytes, job_bytes

# An upload takes space in steps of this size, so that several at once do not exceed the limit.
STEP_BYTES = 8 * 1024 * 1024
# Rows that are measured in one step.
CHUNK = 100


def record_job(job_id: UUID) -> None:
    Job.objects.filter(pk=job_id).update(disk_bytes=job_bytes(job_id))


def mark_unmeasured(job_id: UUID) -> None:
    """The files have changed; retention measures them in its next run."""
    Job.objects.filter(pk=job_id).update(disk_bytes=None)


def measure_some() -> int:
    """Measure new and changed jobs and datasets; return how many."""
    jobs = list(Job.objects.filter(disk_bytes=None).values_list("pk", flat=True)[:CHUNK])
    for pk in jobs:
        record_job(pk)
    datasets = list(Dataset.objects.filter(disk_bytes=None).values_list("pk", flat=True)[:CHUNK])
    for pk in datasets:
        Dataset.objects.filter(pk=pk).update(disk_bytes=dataset_bytes(pk))
    return len(jobs) + len(datasets)


def counted(job: Job, blocks: Iterable[bytes], announced: int) -> Iterator[bytes]:
    """The blocks of an upload, which are added to the owner's disk use as they arrive.

    Raises LimitReachedError if the announced or received size is too large. `record_job` corrects
    the use afterward, because the upload may have replaced a file.
    """
    with transaction.atomic():
        limits.require(job.owner, limits.STORED_BYTES, adding=max(announced, 1))
    pending = 0
    for block in blocks:
        pending += len(block)
        if pending >= STEP_BYTES:
            _add(job, pending)
            pending = 0
        yield block
    if pending:
        _add(job, pending)


def reserve(job: Job, size: int) -> None:
    """Add what is about to be written to the owner's disk use, or raise LimitReachedError."""
    with transaction.atomic():
        limits.require(job.owner, limits.STORED_BYTES, adding=size)
        # A job that is not measured yet stays so.
        Job.objects.filter(pk=job.pk).update(disk_bytes=F("disk_bytes") + size)


def _add(job: Job, size: int) -> None:
    with transaction.atomic():
        limits.require(job.owner, limits.STORED_BYTES, adding=size)
        Job.objects.filter(pk=job.pk).update(disk_bytes=Coalesce(F("disk_bytes"), 0) + size)
