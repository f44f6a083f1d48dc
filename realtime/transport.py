"""The exchange of job events and its two transports: AMQP, or local to this process."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol
from uuid import UUID

from amqp.exceptions import ContentTooLarge, FrameSyntaxError, PreconditionFailed
from channels.layers import BaseChannelLayer
from kombu import Connection, Exchange, Producer

from realtime.amqp_url import parse_amqp_url

EXCHANGE = "heimdall.events"
ALL_JOBS = "all"
TIMEOUT_SECONDS = 3

log = logging.getLogger(__name__)


def job_group(job_id: UUID | str) -> str:
    return f"job.{job_id}"


def binding_key(group: str) -> str:
    """The topic pattern that binds a channel layer's group, so that RabbitMQ does the filtering."""
    return "#" if group == ALL_JOBS else f"*.*.{group.removeprefix('job.')}"


class MessageRefusedError(Exception):
    """The broker takes other messages, but not this one, for example because of its size."""


class Transport(Protocol):
    """Sends one message; raises where it could not, MessageRefusedError where it never will."""

    def send(self, routing_key: str, body: bytes) -> None: ...

    def close(self) -> None: ...


class AmqpTransport:
    """Publishes with confirms, one message at a time; every operation has a timeout."""

    def __init__(self, url: str) -> None:
        self._address = parse_amqp_url(url)
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def send(self, routing_key: str, body: bytes) -> None:
        try:
            self._publish(routing_key, body)
        except (ContentTooLarge, FrameSyntaxError, PreconditionFailed) as error:
            self.close()
            raise MessageRefusedError(str(error)) from error
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                # Not a regular AMQP close, because a frozen peer would never answer it.
                connection.collect(socket_timeout=1)
            except Exception as error:
                log.debug("Could not close the connection: %s", error)

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
            self._address.url,
            ssl=self._address.kombu_ssl(),
            connect_timeout=self._address.connect_seconds or TIMEOUT_SECONDS,
            transport_options={
                "confirm_publish": True,
                "read_timeout": TIMEOUT_SECONDS,
                "write_timeout": TIMEOUT_SECONDS,
            },
        )
        exchange = Exchange(EXCHANGE, type="topic", durable=False)
        return Producer(self._connection.channel(), exchange=exchange, auto_declare=True)


class LocalTransport:
    """Delivers to the channel layers of this process, for the embedded mode without a broker."""

    def send(self, routing_key: str, body: bytes) -> None:
        job_id = routing_key.rsplit(".", 1)[-1]
        message = {"type": "frame", "body": body}
        for loop, layer in list(_local_layers):
            for group in (job_group(job_id), ALL_JOBS):
                sending = layer.group_send(group, message)
                try:
                    asyncio.run_coroutine_threadsafe(sending, loop)
                except RuntimeError:  # the loop is closed: the process is shutting down
                    sending.close()
                    _local_layers.discard((loop, layer))

    def close(self) -> None: ...


_local_layers: set[tuple[asyncio.AbstractEventLoop, Any]] = set()


def register_local_layer(layer: BaseChannelLayer) -> None:
    _local_layers.add((asyncio.get_running_loop(), layer))
