"""The registry of workers; each worker sends a heartbeat in every maintenance pass."""

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

# Lost workers stay visible this long, so that operators notice them.
RETENTION = timedelta(days=1)


def stale() -> Q:
    """The workers that sent no heartbeat for the length of a lease."""
    return Q(seen_at__lt=Now() - timedelta(seconds=settings.LEASE_SECONDS))


def register(name: str, slots: int, has: Collection[str] = ("cpu",)) -> None:
    """Register a starting worker; an earlier worker of the same name is replaced."""
    Worker.objects.bulk_create(
        [Worker(name=name, slots=slots, has=list(has), started_at=Now(), seen_at=Now())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["slots", "has", "started_at", "seen_at"],
    )


def heartbeat(name: str, slots: int, has: Collection[str] = ("cpu",)) -> None:
    """Record that the worker is alive, and delete workers that were lost long ago."""
    if not Worker.objects.filter(name=name).update(seen_at=Now()):
        register(name, slots, has)
    Worker.objects.filter(seen_at__lt=Now() - RETENTION).delete()


class Capacity:
    """The hardware of the available workers; queried once, when it is needed."""

    @cached_property
    def _hardware(self) -> set[str]:
        found = Worker.objects.exclude(stale()).values_list("has", flat=True)
        return {one for has in found for one in has}

    def waits_for(self, job: Job) -> str:
        """Why no available worker can run a queued job; empty if one can."""
        if job.status != Status.QUEUED:
            return ""
        if not self._hardware:
            return "No worker is there."
        if job.needs == Needs.AUTO or job.needs in self._hardware:
            return ""
        return f"No worker with a {job.needs.upper()} is there."


def deregister(name: str) -> None:
    Worker.objects.filter(name=name).delete()


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker: its slots, its running jobs and its last heartbeat."""

    name: str
    slots: int
    running: int
    seen_at: datetime
    state: str  # busy, idle or lost


def list_workers() -> list[WorkerStatus]:
    lost = set(Worker.objects.filter(stale()).values_list("pk", flat=True))
    rows = Job.objects.filter(status=Status.RUNNING).order_by().values_list("worker")
    busy = dict(rows.annotate(count=Count("pk")).values_list("worker", "count"))

    def state(one: Worker) -> str:
        return "lost" if one.pk in lost else "busy" if busy.get(one.name) else "idle"

    return [
        WorkerStatus(one.name, one.slots, busy.get(one.name, 0), one.seen_at, state(one))
        for one in Worker.objects.all()
    ]
