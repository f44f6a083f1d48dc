"""The event publisher of this process: to the broker, or to this process's own connections."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.utils import timezone

from realtime.events import BatchProgress, Log, encode, routing_key
from realtime.publisher import Publisher
from realtime.transport import AmqpTransport, LocalTransport
from training.events.store import DatabaseOutbox


@cache
def get_publisher() -> Publisher:
    url: str | None = settings.RABBITMQ_URL
    return Publisher(DatabaseOutbox(), AmqpTransport(url) if url else LocalTransport())


def send_ephemeral(event: BatchProgress | Log) -> None:
    """Send an event that is not stored; it may be lost."""
    body = encode(event.event, None, timezone.now(), event.data())
    get_publisher().send_ephemeral(routing_key(event.event, event.job_id), body)
