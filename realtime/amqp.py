"""An asyncio connection to RabbitMQ that is opened in time or not at all, and surely closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import unquote, urlsplit

import carehare

# carehare passes user name and password on as they stand in the URL, escapes and all.
from carehare._protocol import Protocol

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
        forget_errors(spoken.open)
        forget_errors(getattr(spoken, "closed", spoken.open))
        if not spoken.open.done():
            spoken._crash_exc = TimeoutError("no greeting")  # noqa: SLF001
        transport.abort()
        await asyncio.sleep(0)  # the socket itself is closed in the loop's next round


def forget_errors(future: asyncio.Future[None]) -> None:
    """Nobody waits for it, and asyncio prints an error that nobody has read."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
