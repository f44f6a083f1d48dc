"""Retention periods: `settings.RETENTION_DAYS`, from the variables HEIMDALL_KEEP_..._DAYS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Policy:
    """Days after which a kind is deleted; 0 disables deletion.

    Those of jobs count from the end of the job, and only ended jobs are affected.
    """

    packed_events: int
    events: int
    epochs: int
    points: int
    system_figures: int
    logs: int
    checkpoints: int
    artifacts: int
    tokens: int  # after they expired
    audit: int
    deliveries: int

    @classmethod
    def from_settings(cls) -> Policy:
        return cls(**settings.RETENTION_DAYS)

    def age(self, kind: str) -> timedelta | None:
        """The age at which this kind is deleted; None keeps it."""
        days: int = getattr(self, kind)
        return timedelta(days=days) if days else None
