"""The registry of workers; each worker sends heartbeats (`training.workers.heartbeat`)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.conf import settings
from django.db.models import Count, Q
from django.db.models.functions import Now

from training.accounts import limits
from training.models import Job, Worker
from training.models.states import Needs, Status

# Lost workers stay visible this long, so that operators notice them.
RETENTION = timedelta(days=1)


def stale() -> Q:
    return Q(seen_at__lt=Now() - timedelta(seconds=settings.LEASE_SECONDS))


def register(name: str, slots: int, has: Collection[str] = ("cpu",)) -> None:
    Worker.objects.bulk_create(
        [Worker(name=name, slots=slots, has=list(has), started_at=Now(), seen_at=Now())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["slots", "has", "started_at", "seen_at"],
    )


def heartbeat(name: str, slots: int, has: Collection[str] = ("cpu",)) -> None:
    if not Worker.objects.filter(name=name).update(seen_at=Now()):
        register(name, slots, has)


def delete_old() -> None:
    Worker.objects.filter(seen_at__lt=Now() - RETENTION).delete()


def slots_by_need() -> dict[Needs, int]:
    """How many jobs of each need the available workers can run at a time."""
    slots = dict.fromkeys(Needs, 0)
    for worker in Worker.objects.exclude(stale()):
        for need in (Needs.AUTO, *map(Needs, worker.has)):
            slots[need] += worker.slots
    return slots


class Capacity:
    """What queued jobs wait for; each fact is queried once, when it is needed."""

    @cached_property
    def _hardware(self) -> set[str]:
        found = Worker.objects.exclude(stale()).values_list("has", flat=True)
        return {hardware for has in found for hardware in has}

    @cached_property
    def _owners_at_limit(self) -> set[int]:
        return limits.owners_at_running_limit()

    def waits_for(self, job: Job) -> str:
        """Why no available worker can run a queued job; empty if one can."""
        if job.status != Status.QUEUED:
            return ""
        if not self._hardware:
            return "No worker is online."
        if job.needs != Needs.AUTO and job.needs not in self._hardware:
            return f"No worker with a {job.needs.upper()} is online."
        if job.owner_id in self._owners_at_limit:
            return f"{job.owner.username} has as many running jobs as the limit allows."
        return ""


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

    def state(worker: Worker) -> str:
        return "lost" if worker.pk in lost else "busy" if busy.get(worker.name) else "idle"

    return [
        WorkerStatus(
            worker.name, worker.slots, busy.get(worker.name, 0), worker.seen_at, state(worker)
        )
        for worker in Worker.objects.all()
    ]
