"""The outbox: an event is written for each subscribed webhook, in the transaction of the change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, TypedDict, cast

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from realtime import events
from training.accounts import audit, limits
from training.models import Job, Sweep
from training.models.webhooks import Delivery, Webhook

TEST_EVENT = "webhook.test"
TOO_MANY_PENDING = (
    "Not sent: too many deliveries of the webhook's owner were pending. Resend it later."
)
# The events a webhook can subscribe to.
EventName = Literal[
    "job.started", "job.completed", "job.failed", "job.cancelled", "job.paused",
    "sweep.started", "sweep.completed", "sweep.failed", "sweep.cancelled", "sweep.paused",
]  # fmt: skip


class AttemptInProgressError(Exception):
    """The delivery cannot be sent again while it is being sent."""

    def __init__(self) -> None:
        super().__init__("This delivery is being sent. Try again when the attempt has ended.")


class JobPayload(TypedDict):
    """A job's current state; `GET /jobs/{job_id}` returns the rest."""

    job_id: str
    kind: str
    name: str
    status: str
    seq: int
    owner_id: int
    dataset_id: str | None
    sweep_id: str | None
    trial: int | None
    current_epoch: int
    total_epochs: int
    best_epoch: int | None
    best_val_loss: float | None
    best_val_rmse: float | None
    error_message: str | None
    cancel_reason: str | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None


class SweepPayload(TypedDict):
    """A sweep's current state; `best` is a trial as in `GET /sweeps/{sweep_id}`."""

    sweep_id: str
    name: str
    status: str
    owner_id: int
    dataset_id: str | None
    method: str
    objective: str
    total_trials: int
    started_trials: int
    error_message: str | None
    best: Mapping[str, object] | None


class TestPayload(TypedDict):
    webhook_id: str


Payload = JobPayload | SweepPayload | TestPayload


def enqueue_job_events(job: Job, recorded: Iterable[events.Event]) -> None:
    for event in recorded:
        if isinstance(event, events.Started):
            _enqueue("job.started", job.owner_id, _job_payload(job))
        elif event.event == "training:completed":
            name = cast(EventName, f"job.{event.data()['status']}")
            _enqueue(name, job.owner_id, _job_payload(job))


def enqueue_sweep_event(sweep: Sweep, status: str, best: Mapping[str, object] | None) -> None:
    payload: SweepPayload = {
        "sweep_id": str(sweep.pk), "name": sweep.name, "status": sweep.status,
        "owner_id": sweep.owner_id, "method": sweep.method,
        "dataset_id": str(sweep.dataset_id) if sweep.dataset_id else None,
        "objective": sweep.objective, "total_trials": sweep.total_trials,
        "started_trials": sweep.started_trials, "error_message": sweep.error_message or None,
        "best": best,
    }  # fmt: skip
    _enqueue(cast(EventName, f"sweep.{status}"), sweep.owner_id, payload)


def send_test(webhook: Webhook) -> Delivery:
    body = _body(TEST_EVENT, {"webhook_id": str(webhook.pk)})
    with transaction.atomic():
        limits.require(webhook.owner, limits.PENDING_DELIVERIES)
        delivery = _create_delivery(webhook, TEST_EVENT, body)
    delivery.refresh_from_db()
    return delivery


def redeliver(delivery: Delivery) -> None:
    """Send it again under the same id, by which the receiver recognizes a repetition.

    `attempts` is not reset, because an unfinished attempt is fenced by its number.
    """
    with transaction.atomic():
        owner = delivery.webhook.owner
        limits.lock_owner(owner.pk)
        if delivery.status != Delivery.State.PENDING:
            limits.require(owner, limits.PENDING_DELIVERIES)
        idle = Q(claimed_until=None) | Q(claimed_until__lt=Now())
        resent = Delivery.objects.filter(idle, pk=delivery.pk).update(
            status=Delivery.State.PENDING, attempts_before=F("attempts"), next_attempt_at=Now(),
            error="", claimed_until=None,
        )  # fmt: skip
        if not resent:
            raise AttemptInProgressError
        audit.record("redelivered", f"delivery {delivery.pk}", webhook=str(delivery.webhook_id))


def _enqueue(event: EventName, owner_id: int, payload: Payload) -> None:
    audience = Q(owner=owner_id) | Q(owner__is_staff=True)
    webhooks = Webhook.objects.filter(audience, enabled=True, owner__is_active=True)
    subscribed = _keep([webhook for webhook in webhooks if event in webhook.events])
    if subscribed:
        body = _body(event, payload)
        for webhook in subscribed:
            # Without a lock on the owner, because the job's row is locked already: transactions at
            # the same moment may exceed the limit by one each.
            if limits.has_room(webhook.owner_id, limits.PENDING_DELIVERIES):
                _create_delivery(webhook, event, body)
            else:
                Delivery.objects.create(
                    webhook=webhook, event=event, body=body, status=Delivery.State.DEAD,
                    error=TOO_MANY_PENDING,
                )  # fmt: skip


def _keep(webhooks: list[Webhook]) -> list[Webhook]:
    """Those that still exist; they cannot be deleted until the transaction ends.

    Otherwise a deletion would fail the transaction, and with it the change of another user's job.
    SQLite has one writing transaction at a time.
    """
    if not webhooks or connection.vendor != "postgresql":
        return webhooks
    with connection.cursor() as cursor:
        # Django has no FOR KEY SHARE. A stronger lock would let changes of different jobs wait for
        # each other, and two that change several jobs for each other.
        cursor.execute(
            "SELECT id FROM training_webhook WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE",
            [[webhook.pk for webhook in webhooks]],
        )
        kept = {pk for (pk,) in cursor.fetchall()}
    return [webhook for webhook in webhooks if webhook.pk in kept]


def _create_delivery(webhook: Webhook, event: str, body: str) -> Delivery:
    return Delivery.objects.create(webhook=webhook, event=event, body=body, next_attempt_at=Now())


def _body(event: str, payload: Payload) -> str:
    content = {"type": event, "timestamp": events.timestamp(timezone.now()), "data": payload}
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _job_payload(job: Job) -> JobPayload:
    return {
        "job_id": str(job.pk), "kind": job.kind, "name": job.name, "status": job.status,
        "seq": job.seq, "owner_id": job.owner_id,
        "dataset_id": str(job.dataset_id) if job.dataset_id else None,
        "sweep_id": str(job.sweep_id) if job.sweep_id else None, "trial": job.trial,
        "current_epoch": job.current_epoch, "total_epochs": job.total_epochs,
        "best_epoch": job.best_epoch, "best_val_loss": job.best_value,
        "best_val_rmse": job.headline_value, "error_message": job.error_message or None,
        "cancel_reason": job.cancel_reason or None, "created_at": _timestamp(job.created_at),
        "started_at": _timestamp(job.started_at), "finished_at": _timestamp(job.finished_at),
    }  # fmt: skip


def _timestamp(at: datetime | None) -> str | None:
    return events.timestamp(at) if at else None
