"""Which data of an ended job is kept, and for how long.

The job itself, its best and its last epoch, its model and its evaluation are always kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.db import transaction
from django.db.models import F, Max, Q, Sum
from django.db.models.functions import Length
from django.utils import timezone

from heimdall_sdk.checkpoint_names import BESTS, newest_first
from training.events import packing
from training.jobs import disk_use
from training.jobs.artifacts import SAVED
from training.jobs.directories import job_directory
from training.models import (
    Epoch,
    EventBlock,
    Job,
    PointBatch,
    PointBlock,
    PointIndex,
    ReportedBatches,
    SystemBlock,
)
from training.models.states import Status
from training.retention.policy import Policy
from training.retention.removed import NOTHING, Removed
from training.retention.rows import Rows, delete_in_chunks, estimate_bytes
from training.storage.disk_usage import disk_bytes
from training.storage.file_removal import remove_each

BATCH = 100
ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
# A failed job can be resumed, from its newest checkpoint or the one before.
WITHOUT_RESUME = (Status.COMPLETED, Status.CANCELLED)
_COLUMNS = (
    "status", "finished_at", "created_at", "external_id", "has_points", "checkpoint_path",
    "best_epoch",
)  # fmt: skip
_CHECKPOINT = re.compile(r"(?:epoch|best)-[0-9]+\.safetensors(?:\.sha256)?")


def ended_before(moment: datetime, job: str = "") -> Q:
    """Of jobs, or of rows whose job is reached with the prefix `job`."""
    ended = {f"{job}status__in": ENDED, f"{job}finished_at__lt": moment}
    # The run of an imported job may have ended long before the import.
    is_kept_long_enough = Q(**{f"{job}external_id": ""}) | Q(**{f"{job}created_at__lt": moment})
    return is_kept_long_enough & Q(**ended)


def steps(policy: Policy, *, dry_run: bool) -> Iterator[Removed]:
    """In batches by primary key, so that each step reads few rows, however many jobs there are."""
    ages = [age for age in map(policy.age, _KINDS) if age is not None]
    if not ages:
        return
    rows = (
        Job.objects.filter(ended_before(timezone.now() - min(ages))).order_by("pk").only(*_COLUMNS)
    )
    last: UUID | None = None
    while batch := list((rows.filter(pk__gt=last) if last else rows)[:BATCH]):
        last = batch[-1].pk
        for kind, find in _KINDS.items():
            age = policy.age(kind)
            if age is not None:
                yield from find(batch, age, dry_run)
        yield NOTHING


def _old_enough(batch: list[Job], age: timedelta) -> list[Job]:
    moment = timezone.now() - age
    return [job for job in batch if (since := _kept_since(job)) and since < moment]


def _kept_since(job: Job) -> datetime | None:
    if job.external_id and job.finished_at:
        return max(job.finished_at, job.created_at)
    return job.finished_at


def _pack_events(batch: list[Job], age: timedelta, dry_run: bool) -> Iterator[Removed]:
    kind = "events, packed"
    for pk in _with_frequent_events(_old_enough(batch, age)):
        if dry_run:
            yield Removed(kind, *packing.packable(pk))
            continue
        when = ended_before(timezone.now() - age)
        while (packed := packing.pack(pk, when))[0]:
            yield Removed(kind, *packed)


def _with_frequent_events(jobs: list[Job]) -> list[UUID]:
    rows = Job.objects.filter(
        pk__in=[job.pk for job in jobs], events__event__in=packing.FREQUENT_EVENTS
    )
    return list(rows.order_by("pk").values_list("pk", flat=True).distinct())


def _delete_events(batch: list[Job], age: timedelta, dry_run: bool) -> Iterator[Removed]:
    jobs = _old_enough(batch, age)
    packed = EventBlock.objects.filter(job_id__in=[job.pk for job in jobs]).exclude(data=b"")
    when = ended_before(timezone.now() - age)
    for pk in {*_with_frequent_events(jobs), *packed.values_list("job_id", flat=True)}:
        found = packing.deletable(pk) if dry_run else packing.delete_frequent(pk, when)
        yield Removed("events", *found)


def _delete_epochs(batch: list[Job], age: timedelta, dry_run: bool) -> Iterator[Removed]:
    jobs = {job.pk: job for job in _old_enough(batch, age)}
    newest = Epoch.objects.filter(job_id__in=jobs).order_by().values_list("job_id")
    for pk, last in newest.annotate(last=Max("epoch")):
        kept = {last, jobs[pk].best_epoch}
        rows = Epoch.objects.filter(_job_ended_before(age), job_id=pk)
        rows = rows.exclude(epoch__in=kept - {None})
        yield from _delete("epochs", rows, "metrics", dry_run)


def _job_ended_before(age: timedelta) -> Q:
    """The condition on a row that belongs to an ended job."""
    return ended_before(timezone.now() - age, "job__")


def _delete_points(batch: list[Job], age: timedelta, dry_run: bool) -> Iterator[Removed]:
    """Epochs that were reported as points stay as epochs."""
    jobs = [job.pk for job in _old_enough(batch, age) if job.has_points]
    if not jobs:
        return
    of_jobs = _job_ended_before(age) & Q(job_id__in=jobs)
    for rows in (PointBlock.objects.filter(of_jobs), PointBatch.objects.filter(of_jobs)):
        size = rows.aggregate(bytes=Sum(Length("data")))["bytes"] or 0
        count = rows.count()
        if not dry_run:
            with transaction.atomic():
                if rows.delete()[0]:
                    PointIndex.objects.filter(pk__in=jobs).update(
                        revision=F("revision") + 1, pending_batches=0, pending_values=0
                    )
        yield Removed("blocks of points", count, size)
    batches = ReportedBatches.objects.filter(of_jobs)
    yield from _delete("numbers of reported batches", batches, "ranges", dry_run)


def _delete_system_figures(batch: list[Job], age: timedelta, dry_run: bool) -> Iterator[Removed]:
    jobs = [job.pk for job in _old_enough(batch, age)]
    rows = SystemBlock.objects.filter(_job_ended_before(age), job_id__in=jobs)
    yield from _delete("resource metrics", rows, "samples", dry_run)


def _delete(kind: str, rows: Rows, column: str, dry_run: bool) -> Iterator[Removed]:
    if dry_run:
        yield Removed(kind, rows.count(), estimate_bytes(rows, column))
    else:
        yield from delete_in_chunks(kind, rows, column)


def _remove_logs(batch: list[Job], age: timedelta, dry_run: bool) -> Iterator[Removed]:
    for job in _old_enough(batch, age):
        # The gap after the log: alone it means nothing, and without it zeros look like output.
        yield _remove(job, "logs", sorted(_attempts(job, "trainer.log"), reverse=True), dry_run)
        yield _remove(job, "logs", list(_attempts(job, "trainer.gap")), dry_run)


def _remove_checkpoints(batch: list[Job], age: timedelta, dry_run: bool) -> Iterator[Removed]:
    """Remove checkpoints that are neither the newest nor the best."""
    for job in _old_enough(batch, age):
        if job.status not in WITHOUT_RESUME or not job.checkpoint_path:
            continue
        newest = Path(job.checkpoint_path)
        if not newest.exists():
            continue
        kept = {newest.name, *(path.name for path in newest_first([newest.parent], BESTS)[:1])}
        old = [
            path
            for path in _attempts(job, "*.safetensors*")
            if _CHECKPOINT.fullmatch(path.name)
            and not (path.parent == newest.parent and path.name.removesuffix(".sha256") in kept)
        ]
        yield _remove(job, "superseded checkpoints", old, dry_run)


def _remove_artifacts(batch: list[Job], age: timedelta, dry_run: bool) -> Iterator[Removed]:
    for job in _old_enough(batch, age):
        yield _remove(job, "folders of artifacts", list(_attempts(job, SAVED)), dry_run)


def _attempts(job: Job, pattern: str) -> Iterator[Path]:
    return job_directory(job.pk).glob(f"attempt-*/{pattern}")


def _remove(job: Job, kind: str, paths: list[Path], dry_run: bool) -> Removed:
    if paths and not dry_run:
        disk_use.mark_unmeasured(job.pk)
    sizes = list(map(disk_bytes, paths) if dry_run else remove_each(paths))
    return Removed(kind, len(sizes), sum(sizes))


_KINDS: dict[str, Callable[[list[Job], timedelta, bool], Iterator[Removed]]] = {
    "events": _delete_events,
    "packed_events": _pack_events,
    "epochs": _delete_epochs,
    "points": _delete_points,
    "system_figures": _delete_system_figures,
    "logs": _remove_logs,
    "checkpoints": _remove_checkpoints,
    "artifacts": _remove_artifacts,
}
