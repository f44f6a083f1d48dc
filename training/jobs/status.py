"""Labels of job statuses, the actions a job allows, and its timeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from training.models import Job, JobEvent, MlflowRun, TrackioRun
from training.models.states import Status, Stop, direct_sources

# By `Job.display_status`. Pages derive "silent" themselves: no event reports a missing heartbeat.
STATUS_LABELS = {
    "queued": "Queued", "running": "Running", "pausing": "Pausing", "cancelling": "Cancelling",
    "paused": "Paused", "completed": "Completed", "failed": "Failed", "cancelled": "Cancelled",
    "interrupted": "Interrupted", "silent": "No heartbeat",
}  # fmt: skip
# Share of a lease, which four heartbeats renew: three missed ones are reported before it expires.
SILENT_AFTER_LEASE_SHARE = 0.75
FREQUENT_EVENTS = ("training:progress", "dataset:generation_progress")


def lease_seconds(job: Job) -> int:
    """How long the job stays with its worker or its reporter without a heartbeat."""
    if not job.reported:
        return int(settings.LEASE_SECONDS)
    if MlflowRun.objects.filter(pk=job.pk).exists():
        return int(settings.MLFLOW_SILENCE_SECONDS)
    if TrackioRun.objects.filter(pk=job.pk).exists():
        return int(settings.TRACKIO_SILENCE_SECONDS)
    return int(settings.REPORT_SILENCE_SECONDS)


def allowed_actions(job: Job) -> dict[str, bool]:
    training = job.kind == Job.Kind.TRAINING
    active = job.status in (Status.QUEUED, Status.RUNNING)
    return {
        "pause": active
        and not job.stop_requested
        and (job.status == Status.QUEUED or job.resumable),
        "resume": job.status in direct_sources(Status.QUEUED) and not job.reported,
        "cancel": (active or job.status == Status.PAUSED) and job.stop_requested != Stop.CANCEL,
        "clone": training and not job.reported,
    }


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """An event and what it means: `kind` decides how the timeline words it."""

    event: JobEvent
    kind: str


def timeline(job: Job, limit: int = 60) -> list[TimelineEntry]:
    rows = job.events.exclude(event__in=FREQUENT_EVENTS).order_by("-seq")[:limit]
    return [TimelineEntry(row, _kind(row)) for row in rows]


def _kind(row: JobEvent) -> str:
    if row.event == "training:started":
        return "started"
    if row.event == "training:completed":
        return "ended"
    return _status_kind(row.data)


def _status_kind(data: Mapping[str, Any]) -> str:
    """What a status event reports. Events of version 0.1 have no `cause`, only a `reason`."""
    status, reason = data.get("status"), data.get("reason", "")
    cause = data.get("cause") or reason
    if cause in ("note", "claimed", "resumed", "registered", "silent", "reconnected"):
        return str(cause)
    if data.get("stop_requested"):
        return "stop_requested"
    if reason and status == Status.RUNNING:
        return "note"
    if reason and status == Status.QUEUED:
        return "interrupted"
    return "cancelled" if reason and status == Status.CANCELLED else "status"
