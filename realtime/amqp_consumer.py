"""An asyncio connection to RabbitMQ that is opened in time or not at all, and surely closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import carehare

# carehare passes user name and password on as they stand in the URL, escapes and all.
from carehare._protocol import Protocol
from pamqp.commands import Basic

# A thousand messages may be under way: far more than come in this time.
_ACK_SECONDS = 0.005
_PORTS = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671}


@asynccontextmanager
async def open_connection(url: str, seconds: float) -> AsyncIterator[carehare.Connection]:
    """Connected and greeted within `seconds`; cut off on the way out."""
    parts = urlsplit(url)
    protocol = partial(
        Protocol,
        username=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
    )
    async with asyncio.timeout(seconds):
        transport, spoken = await asyncio.get_running_loop().create_connection(
            protocol,
            host=parts.hostname or "127.0.0.1",
            port=parts.port or _PORTS[parts.scheme],
            ssl=parts.scheme == "amqps" or None,
        )
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(spoken.open)
        connection = carehare.Connection(url)
        connection._protocol = spoken  # noqa: SLF001
        yield connection
    finally:
        ignore_exceptions(spoken.open)
        ignore_exceptions(getattr(spoken, "closed", spoken.open))
        if not spoken.open.done():
            spoken._crash_exc = TimeoutError("no greeting")  # noqa: SLF001
        transport.abort()
        await asyncio.sleep(0)  # the socket itself is closed in the loop's next round


async def consume(
    connection: carehare.Connection, queue: str, prefetch: int, take: Callable[[bytes], None]
) -> None:
    """Hand each message to `take` as it is read, and acknowledge it soon after; until the channel
    is closed.

    `take` must neither wait nor raise. Raises what closed the channel.
    """
    consumer = connection.acking_consumer(queue, prefetch_count=prefetch)
    # Its own queue is read by a new task for each message, which costs three turns of the loop.
    consumer._queue = CallbackQueue(take, consumer._frame_writer.send_frame)  # noqa: SLF001
    ignore_exceptions(consumer.closed)
    # Whoever gives up waiting must not cancel the future that carehare sets.
    await asyncio.wait([consumer.closed])
    consumer.closed.result()
    raise carehare.ChannelClosed


class CallbackQueue:
    """In the place of a queue: what is put in is taken at once.

    Acknowledged it is a moment later, together with what came meanwhile: a message is a hint, which
    waits for no member that is slow, and to write to the broker first would hold up the sockets.
    """

    def __init__(self, take: Callable[[bytes], None], write: Callable[[Any], None]) -> None:
        self._take, self._write = take, write
        self._newest = 0

    def put_nowait(self, delivery: Any) -> None:
        self._take(b"".join(part.value for part in delivery.body))
        if not self._newest:
            asyncio.get_running_loop().call_later(_ACK_SECONDS, self._acknowledge)
        self._newest = delivery.deliver.delivery_tag

    def _acknowledge(self) -> None:
        newest, self._newest = self._newest, 0
        self._write(Basic.Ack(delivery_tag=newest, multiple=True))


def ignore_exceptions(future: asyncio.Future[None]) -> None:
    """Nobody waits for it, and asyncio prints an error that nobody has read."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
