"""The event publisher of this process: to the broker, or to this process's own connections."""

from __future__ import annotations

from functools import cache
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from realtime.events import BatchProgress, encode, routing_key
from realtime.publisher import Publisher
from realtime.transport import AmqpTransport, LocalTransport
from training.events.store import DatabaseOutbox


@cache
def get_publisher() -> Publisher:
    """The publisher of this process; its thread starts with the first event."""
    url: str | None = settings.RABBITMQ_URL
    return Publisher(DatabaseOutbox(), AmqpTransport(url) if url else LocalTransport())


def notify(job_id: UUID) -> None:
    """Report that the job has new events; never waits."""
    get_publisher().notify(job_id)


def send_ephemeral(event: BatchProgress) -> None:
    """Send an event that is not stored; it may be lost."""
    body = encode(event.event, None, timezone.now(), event.data())
    get_publisher().send_ephemeral(routing_key(event.event, event.job_id), body)
