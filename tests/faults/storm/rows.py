"""Inconsistencies in the rows and files of an installation after everything has stopped.

python -m tests.faults.storm.rows    (with the environment of the installation; prints JSON)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")
FINAL = {"completed", "cancelled"}


def state_violations(job: Any) -> Iterator[str]:
    if job.status not in FINAL:
        yield f"not ended: {job.status}"
    if job.worker or job.lease_expires_at or job.stop_requested:
        yield f"still held: {job.worker} {job.lease_expires_at} {job.stop_requested}"
    if job.sent_seq != job.seq or job.sending_until:
        yield f"unsent: {job.sent_seq} of {job.seq}, claimed until {job.sending_until}"
    if (job.program, job.status, job.reported) == ("localizer", "completed", False):
        yield from () if hasattr(job, "model") else ["completed without a model"]


def log_violations(job: Any) -> Iterator[str]:
    from training.models import Epoch, JobEvent
    from training.models.states import TRANSITIONS, Status

    events = list(JobEvent.objects.filter(job=job))
    if [event.seq for event in events] != list(range(1, job.seq + 1)):
        yield "gap in seq"
    statuses = [Status(event.data["status"]) for event in events if "status" in event.data]
    for before, after in pairwise(statuses):
        if after != before and after not in TRANSITIONS[before]:
            yield f"invalid transition: {before} to {after}"
    if statuses[-1] != job.status:
        yield f"the last event reports {statuses[-1]}, the row {job.status}"
    claims = sum(event.data.get("cause") == "claimed" for event in events)
    if not job.reported and claims != job.attempt:
        yield f"{claims} claims of {job.attempt} attempts"
    epochs = list(Epoch.objects.filter(job=job).values_list("epoch", flat=True))
    if epochs != list(range(1, job.current_epoch + 1)):
        yield f"epochs {epochs}, the row has {job.current_epoch}"


def file_violations(job: Any, folder: Path) -> Iterator[str]:
    from heimdall_sdk.checkpoint_names import KEEP_LAST, newest_first

    attempts = sorted(path.name for path in folder.glob("attempt-*"))
    if attempts and attempts[-1] > f"attempt-{job.attempt:03d}":
        yield f"{attempts[-1]} of a job with {job.attempt} attempts"
    named = Path(job.checkpoint_path) if job.checkpoint_path else None
    if named and not named.exists():
        yield f"no file {named}"
    if job.status == "completed" and not job.reported:
        # The one before the newest, and what the trainer wrote ahead of the rows, are allowed.
        found = newest_first(folder.glob("attempt-*"), "epoch")
        if len(found) > 2 * KEEP_LAST:
            yield f"{len(found)} checkpoints: {[str(path) for path in found]}"


def sweep_violations(sweep: Any) -> Iterator[str]:
    if sweep.status not in FINAL:
        yield f"not ended: {sweep.status} {sweep.error_message}"
    trials = sorted(sweep.jobs.values_list("trial", flat=True))
    if trials != list(range(1, sweep.started_trials + 1)):
        yield f"trials {trials} of {sweep.started_trials} started ones"
    if sweep.status == "completed" and sweep.started_trials != sweep.total_trials:
        yield f"completed after {sweep.started_trials} of {sweep.total_trials} trials"


def leftovers() -> Iterator[str]:
    """Rows and files that nothing refers to."""
    from django.conf import settings

    from training.models import Delivery, FileRemoval, IdempotencyKey
    from training.retention import orphans

    for key in IdempotencyKey.objects.filter(status=None):
        yield f"idempotency key held since {key.claimed_at}"
    for delivery in Delivery.objects.filter(status="pending"):
        yield f"delivery {delivery.pk} is pending"
    for removal in FileRemoval.objects.all():
        yield f"{removal.path} is not removed"
    # Retention removes what killed processes were writing, after an hour.
    with mock.patch.object(orphans, "MIN_AGE_SECONDS", 0):
        for removed in orphans.steps(dry_run=False):
            if removed.count and removed.kind != "temporary files":
                yield f"{removed.count} {removed.kind}"
    folder = Path(settings.DATA_DIR)
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in {".part", ".tmp"}:
            yield f"left behind: {path.relative_to(folder)}"


def violations() -> list[str]:
    from django.conf import settings

    from training.models import Job, Sweep

    found = []
    for job in Job.objects.select_related("model"):
        folder = Path(settings.DATA_DIR) / "jobs" / str(job.pk)
        of_job = [*state_violations(job), *log_violations(job), *file_violations(job, folder)]
        found += [f"job {job.pk} ({job.program}, {job.status}): {one}" for one in of_job]
    for sweep in Sweep.objects.all():
        found += [f"sweep {sweep.pk}: {violation}" for violation in sweep_violations(sweep)]
    return found + list(leftovers())


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(violations()))  # noqa: T201
