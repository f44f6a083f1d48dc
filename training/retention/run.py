"""One application of the policy, as a sequence of small steps.

Each step is one transaction or removes a few files, so a kill in between loses nothing: the next
run continues with what is left. Several processes may run at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from training.jobs import disk_use
from training.models import FileRemoval, RetentionState
from training.retention import ended_jobs, orphans, rows
from training.retention.policy import Policy
from training.retention.removed import NOTHING, Removed
from training.storage import file_removal
from training.storage.disk_usage import disk_bytes, measure

# The run of a process that was killed is continued by another one after this time.
CLAIM = timedelta(minutes=10)


def steps(policy: Policy, *, dry_run: bool = False) -> Iterator[Removed]:
    """Remove what the policy does not keep, step by step; with `dry_run` only what would be."""
    yield from finish_removals(dry_run=dry_run)
    yield from rows.steps(policy, dry_run=dry_run)
    yield from ended_jobs.steps(policy, dry_run=dry_run)
    yield from orphans.steps(dry_run=dry_run)
    while not dry_run and disk_use.measure_some():
        yield NOTHING


def finish_removals(*, dry_run: bool = False) -> Iterator[Removed]:
    for removal in FileRemoval.objects.order_by("pk"):
        kind = "files of deleted jobs and datasets"
        paths = file_removal.matching(removal)
        if dry_run:
            yield Removed(kind, len(paths), sum(map(disk_bytes, paths)))
        else:
            yield Removed(kind, len(paths), file_removal.finish(removal))


def claim(interval: timedelta) -> bool:
    """Whether this process may run: none does, and the last run ended long enough ago."""
    RetentionState.objects.get_or_create(pk=1)
    free = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    due = Q(finished_at=None) | Q(finished_at__lt=Now() - interval)
    return bool(RetentionState.objects.filter(free, due, pk=1).update(claimed_until=Now() + CLAIM))


def renew_claim() -> None:
    RetentionState.objects.filter(pk=1).update(claimed_until=Now() + CLAIM)


def complete() -> None:
    """Record the end of a run, and what uses the disk now."""
    RetentionState.objects.update_or_create(
        pk=1, defaults={"claimed_until": None, "finished_at": Now(), "sizes": measure()}
    )
