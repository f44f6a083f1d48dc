"""The exchange of events, and the two ways to it: over AMQP, or within this process."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol
from uuid import UUID

from channels.layers import BaseChannelLayer
from kombu import Connection, Exchange, Producer

EXCHANGE = "heimdall.events"
ALL_JOBS = "all"
TIMEOUT_SECONDS = 3

log = logging.getLogger(__name__)


def group_of(job_id: UUID | str) -> str:
    """The channel layer's group of a job."""
    return f"job.{job_id}"


def binding_key(group: str) -> str:
    """What a group is bound by: RabbitMQ routes, no process of ours has to."""
    return "#" if group == ALL_JOBS else f"*.*.{group.removeprefix('job.')}"


class Transport(Protocol):
    """Takes one message to whoever listens; raises where it could not."""

    def send(self, routing_key: str, body: bytes) -> None: ...

    def close(self) -> None: ...


class AmqpTransport:
    """One confirmed publish at a time, over a connection that never waits for ever."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def send(self, routing_key: str, body: bytes) -> None:
        try:
            self._publish(routing_key, body)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                # A peer that is frozen would not answer a polite goodbye.
                connection.collect(socket_timeout=1)
            except Exception as error:
                log.debug("The connection could not be closed: %s", error)

    def _publish(self, routing_key: str, body: bytes) -> None:
        if self._producer is None:
            self._producer = self._connect()
        self._producer.publish(
            body,
            routing_key=routing_key,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode="transient",
            confirm_timeout=TIMEOUT_SECONDS,
        )

    def _connect(self) -> Producer:
        self._connection = Connection(
            self._url,
            connect_timeout=TIMEOUT_SECONDS,
            transport_options={
                "confirm_publish": True,
                "read_timeout": TIMEOUT_SECONDS,
                "write_timeout": TIMEOUT_SECONDS,
            },
        )
        exchange = Exchange(EXCHANGE, type="topic", durable=False)
        return Producer(self._connection.channel(), exchange=exchange, auto_declare=True)


class LocalTransport:
    """Straight to the sockets of this process, where no broker is named."""

    def send(self, routing_key: str, body: bytes) -> None:
        job_id = routing_key.rsplit(".", 1)[-1]
        message = {"type": "frame", "body": body}
        for loop, layer in list(_listeners):
            for group in (group_of(job_id), ALL_JOBS):
                try:
                    asyncio.run_coroutine_threadsafe(layer.group_send(group, message), loop)
                except RuntimeError:  # its loop is closed: the process is on its way out
                    _listeners.discard((loop, layer))

    def close(self) -> None:
        """Nothing is held open."""


_listeners: set[tuple[asyncio.AbstractEventLoop, Any]] = set()


def register_local_layer(layer: BaseChannelLayer) -> None:
    """Have LocalTransport reach the groups of this layer, which lives in the running loop."""
    _listeners.add((asyncio.get_running_loop(), layer))
