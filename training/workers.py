"""Which workers there are: each says so itself, every time that its keeper looks."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import cached_property

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from training.models import Job, Worker
from training.states import Needs, Status

# One that was lost is shown for so long, so that somebody may wonder why.
KEPT = timedelta(days=1)


def lost() -> Q:
    """Those that have not been seen for as long as a lease holds."""
    return Q(seen_at__lt=Now() - timedelta(seconds=settings.LEASE_SECONDS))


def arrived(name: str, slots: int, has: Collection[str] = ("cpu",)) -> None:
    """A worker starts, perhaps under the name of one that was here before."""
    Worker.objects.bulk_create(
        [Worker(name=name, slots=slots, has=list(has), started_at=Now(), seen_at=Now())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["slots", "has", "started_at", "seen_at"],
    )


def seen(name: str, slots: int, has: Collection[str] = ("cpu",)) -> None:
    """It is still there; those that have long been gone are forgotten."""
    if not Worker.objects.filter(name=name).update(seen_at=Now()):
        arrived(name, slots, has)
    Worker.objects.filter(seen_at__lt=Now() - KEPT).delete()


class Hardware:
    """What the workers that are there have between them: asked for once, if at all."""

    @cached_property
    def _there(self) -> set[str]:
        found = Worker.objects.exclude(lost()).values_list("has", flat=True)
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


def meets(has: Collection[str]) -> Q:
    """The jobs that a worker with this hardware may run."""
    return Q(needs__in=[Needs.AUTO, *has])


def left(name: str) -> None:
    """It ended in order."""
    Worker.objects.filter(name=name).delete()
