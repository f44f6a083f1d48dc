"""What happened, written for each webhook that wants it, in the transaction of the change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from realtime import events
from training.models import Job, Sweep
from training.models.webhooks import Delivery, Webhook

TEST = "webhook.test"
JOB_EVENTS = ("job.started", "job.completed", "job.failed", "job.cancelled", "job.paused")
SWEEP_EVENTS = ("sweep.started", "sweep.completed", "sweep.failed", "sweep.cancelled",
                "sweep.paused")  # fmt: skip
EVENTS = (*JOB_EVENTS, *SWEEP_EVENTS)


def enqueue_job_events(job: Job, happened: Iterable[events.Event]) -> None:
    """Of what happened, that which somebody may want to be told."""
    for event in happened:
        if isinstance(event, events.Started):
            _enqueue("job.started", job.owner_id, _job(job))
        elif event.event == "training:completed":
            _enqueue(f"job.{event.data()['status']}", job.owner_id, _job(job))


def enqueue_sweep_event(sweep: Sweep, word: str, best: dict[str, Any] | None) -> None:
    data = {
        "sweep_id": str(sweep.pk), "name": sweep.name, "status": sweep.status,
        "owner_id": sweep.owner_id, "dataset_id": str(sweep.dataset_id), "method": sweep.method,
        "objective": sweep.objective, "total_trials": sweep.total_trials,
        "started_trials": sweep.started_trials, "error_message": sweep.error_message or None,
        "best": best,
    }  # fmt: skip
    _enqueue(f"sweep.{word}", sweep.owner_id, data)


def send_test(webhook: Webhook) -> Delivery:
    """A delivery that says nothing but that it arrives."""
    delivery = _row(webhook, TEST, _body(TEST, {"webhook_id": str(webhook.pk)}))
    delivery.refresh_from_db()
    return delivery


def redeliver(delivery: Delivery) -> None:
    """Send it once more, under the same id: a receiver that has it already knows it."""
    Delivery.objects.filter(pk=delivery.pk).update(
        status=Delivery.State.PENDING, attempts=0, next_attempt_at=Now(), error="",
        claimed_until=None,
    )  # fmt: skip


def _enqueue(event: str, owner_id: int, data: dict[str, Any]) -> None:
    """For the owner's webhooks, and for those of staff, who may see everything."""
    theirs = Q(owner=owner_id) | Q(owner__is_staff=True)
    found = Webhook.objects.filter(theirs, enabled=True, owner__is_active=True)
    wanted = [webhook for webhook in found if event in webhook.events]
    if wanted:
        body = _body(event, data)
        for webhook in wanted:
            _row(webhook, event, body)


def _row(webhook: Webhook, event: str, body: str) -> Delivery:
    return Delivery.objects.create(webhook=webhook, event=event, body=body, next_attempt_at=Now())


def _body(event: str, data: dict[str, Any]) -> str:
    told = {"type": event, "timestamp": events.timestamp(timezone.now()), "data": data}
    return json.dumps(told, allow_nan=False, separators=(",", ":"))


def _job(job: Job) -> dict[str, Any]:
    """What a job has come to; the rest is in `GET /jobs/{job_id}`."""
    return {
        "job_id": str(job.pk), "kind": job.kind, "name": job.name, "status": job.status,
        "seq": job.seq, "owner_id": job.owner_id, "dataset_id": str(job.dataset_id),
        "sweep_id": str(job.sweep_id) if job.sweep_id else None, "trial": job.trial,
        "current_epoch": job.current_epoch, "total_epochs": job.total_epochs,
        "best_epoch": job.best_epoch, "best_val_loss": job.best_val_loss,
        "best_val_rmse": job.best_val_rmse, "error_message": job.error_message or None,
        "cancel_reason": job.cancel_reason or None, "created_at": _timestamp(job.created_at),
        "started_at": _timestamp(job.started_at), "finished_at": _timestamp(job.finished_at),
    }  # fmt: skip


def _timestamp(at: datetime | None) -> str | None:
    return events.timestamp(at) if at else None
