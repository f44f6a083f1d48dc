"""Which workers there are: each says so itself, every time that its keeper looks."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from training.models import Worker

# One that was lost is shown for so long, so that somebody may wonder why.
KEPT = timedelta(days=1)


def lost() -> Q:
    """Those that have not been seen for as long as a lease holds."""
    return Q(seen_at__lt=Now() - timedelta(seconds=settings.LEASE_SECONDS))


def arrived(name: str, slots: int) -> None:
    """A worker starts, perhaps under the name of one that was here before."""
    Worker.objects.bulk_create(
        [Worker(name=name, slots=slots, started_at=Now(), seen_at=Now())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["slots", "started_at", "seen_at"],
    )


def seen(name: str, slots: int) -> None:
    """It is still there; those that have long been gone are forgotten."""
    if not Worker.objects.filter(name=name).update(seen_at=Now()):
        arrived(name, slots)
    Worker.objects.filter(seen_at__lt=Now() - KEPT).delete()


def left(name: str) -> None:
    """It ended in order."""
    Worker.objects.filter(name=name).delete()
