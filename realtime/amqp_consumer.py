"""An asyncio connection to RabbitMQ with a bounded handshake and a guaranteed close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import carehare

# carehare passes the user name and password of the URL on without decoding percent escapes.
from carehare._protocol import Protocol
from pamqp.commands import Basic

from realtime.amqp_url import parse_amqp_url

# A thousand messages may be unacknowledged: far more than arrive in this time.
_ACK_DELAY_SECONDS = 0.005
_PORTS = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671}


@asynccontextmanager
async def open_connection(url: str, timeout_seconds: float) -> AsyncIterator[carehare.Connection]:
    """Connect and complete the AMQP handshake within the timeout; abort the socket on exit."""
    address = parse_amqp_url(url)
    parts = urlsplit(address.url)
    protocol_factory = partial(
        Protocol,
        username=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
    )
    async with asyncio.timeout(timeout_seconds):
        transport, protocol = await asyncio.get_running_loop().create_connection(
            protocol_factory,
            host=parts.hostname or "127.0.0.1",
            port=parts.port or _PORTS[parts.scheme],
            ssl=address.ssl_context(),
            server_hostname=address.server_name,
        )
    try:
        async with asyncio.timeout(timeout_seconds):
            await asyncio.shield(protocol.open)
        connection = carehare.Connection(address.url)
        connection._protocol = protocol  # noqa: SLF001
        yield connection
    finally:
        ignore_exceptions(protocol.open)
        ignore_exceptions(getattr(protocol, "closed", protocol.open))
        if not protocol.open.done():
            protocol._crash_exc = TimeoutError("AMQP handshake timed out")  # noqa: SLF001
        transport.abort()
        await asyncio.sleep(0)  # the loop closes the socket in its next iteration


async def consume(
    connection: carehare.Connection,
    queue: str,
    prefetch: int,
    on_message: Callable[[bytes], None],
) -> None:
    """Call `on_message` for each message as it is read, and acknowledge shortly afterward.

    `on_message` must neither block nor raise. Returns never; raises what closed the channel.
    """
    consumer = connection.acking_consumer(queue, prefetch_count=prefetch)
    # carehare's own queue is read by a new task per message: three iterations of the loop more.
    consumer._queue = CallbackQueue(  # noqa: SLF001
        on_message,
        consumer._frame_writer.send_frame,  # noqa: SLF001
    )
    ignore_exceptions(consumer.closed)
    # asyncio.wait does not cancel the future, which carehare sets itself, when we are cancelled.
    await asyncio.wait([consumer.closed])
    consumer.closed.result()
    raise carehare.ChannelClosed


class CallbackQueue:
    """Replaces carehare's delivery queue with a direct call of the handler.

    Messages are acknowledged a moment later, in batches. They are only hints, so they need not wait
    for slow members, and writing to the broker first would delay the sockets.
    """

    def __init__(
        self, on_message: Callable[[bytes], None], send_frame: Callable[[Any], None]
    ) -> None:
        self._on_message, self._send_frame = on_message, send_frame
        self._unacknowledged_tag = 0

    def put_nowait(self, delivery: Any) -> None:
        self._on_message(b"".join(part.value for part in delivery.body))
        if not self._unacknowledged_tag:
            asyncio.get_running_loop().call_later(_ACK_DELAY_SECONDS, self._acknowledge)
        self._unacknowledged_tag = delivery.deliver.delivery_tag

    def _acknowledge(self) -> None:
        tag, self._unacknowledged_tag = self._unacknowledged_tag, 0
        self._send_frame(Basic.Ack(delivery_tag=tag, multiple=True))


def ignore_exceptions(future: asyncio.Future[Any]) -> None:
    """Retrieve the future's exception, because asyncio logs exceptions that are never retrieved."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
