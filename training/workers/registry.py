"""Which workers there are: each says so itself, every time that its keeper looks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.conf import settings
from django.db.models import Count, Q
from django.db.models.functions import Now

from training.models import Job, Worker
from training.models.states import Needs, Status

# One that was lost is shown for so long, so that somebody may wonder why.
RETENTION = timedelta(days=1)


def stale() -> Q:
    """Those that have not been seen for as long as a lease holds."""
    return Q(seen_at__lt=Now() - timedelta(seconds=settings.LEASE_SECONDS))


def register(name: str, slots: int, has: Collection[str] = ("cpu",)) -> None:
    """A worker starts, perhaps under the name of one that was here before."""
    Worker.objects.bulk_create(
        [Worker(name=name, slots=slots, has=list(has), started_at=Now(), seen_at=Now())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["slots", "has", "started_at", "seen_at"],
    )


def heartbeat(name: str, slots: int, has: Collection[str] = ("cpu",)) -> None:
    """It is still there; those that have long been gone are forgotten."""
    if not Worker.objects.filter(name=name).update(seen_at=Now()):
        register(name, slots, has)
    Worker.objects.filter(seen_at__lt=Now() - RETENTION).delete()


class Capacity:
    """What the workers that are there have between them: asked for once, if at all."""

    @cached_property
    def _there(self) -> set[str]:
        found = Worker.objects.exclude(stale()).values_list("has", flat=True)
        return {one for has in found for one in has}

    def waits_for(self, job: Job) -> str:
        """Why a queued job can not start; empty where it can, or only waits for its turn."""
        if job.status != Status.QUEUED:
            return ""
        if not self._there:
            return "No worker is there."
        if job.needs == Needs.AUTO or job.needs in self._there:
            return ""
        return f"No worker with a {job.needs.upper()} is there."


def deregister(name: str) -> None:
    """It ended in order."""
    Worker.objects.filter(name=name).delete()


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker: what it is doing, and when it was last seen."""

    name: str
    slots: int
    running: int
    seen_at: datetime
    state: str  # busy, idle or lost


def list_workers() -> list[WorkerStatus]:
    """Every worker that has been seen lately."""
    gone = set(Worker.objects.filter(stale()).values_list("pk", flat=True))
    rows = Job.objects.filter(status=Status.RUNNING).order_by().values_list("worker")
    busy = dict(rows.annotate(count=Count("pk")).values_list("worker", "count"))

    def state(one: Worker) -> str:
        return "lost" if one.pk in gone else "busy" if busy.get(one.name) else "idle"

    return [
        WorkerStatus(one.name, one.slots, busy.get(one.name, 0), one.seen_at, state(one))
        for one in Worker.objects.all()
    ]
