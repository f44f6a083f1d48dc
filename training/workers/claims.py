"""Claims on work that one process at a time does, kept on the database's clock."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from training.models import Claim


def acquire(name: str, holder: str, seconds: float) -> bool:
    """Take or renew the claim for so many seconds; False while another process holds it."""
    until = Now() + timedelta(seconds=seconds)
    claim = Claim.objects.filter(name=name)
    available = claim.filter(Q(holder=holder) | Q(expires_at__lte=Now()))
    if available.update(holder=holder, expires_at=until):
        return True
    if claim.exists():
        return False
    row = Claim(name=name, holder=holder, expires_at=until)
    Claim.objects.bulk_create([row], ignore_conflicts=True)
    return claim.filter(holder=holder).exists()


def release(name: str, holder: str) -> None:
    Claim.objects.filter(name=name, holder=holder).update(expires_at=Now())
