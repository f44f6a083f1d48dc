"""ASGI middleware that bounds how many requests of a web process are computed at once.

Each such request has a thread and a connection to the database. The others wait with neither, and
beyond a queue they are refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

from training.request_thread import release_thread

MAX_WAITING = 1000
RETRY_AFTER_SECONDS = 2
HEALTH_PATH = "/healthz"  # below the base path; has to be answered under any load

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]


class ConcurrencyLimit:
    """Counts a request until the first part of its response; the rest waits for the client.

    The request's thread and database connection are released at that part too.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._health_path = f"{settings.BASE_PATH}{HEALTH_PATH}"
        self._slots = asyncio.Semaphore(settings.REQUESTS_AT_ONCE)
        self._waiting = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == self._health_path:
            await self._application(scope, receive, send)
            return
        if self._slots.locked() and self._waiting >= MAX_WAITING:
            await _refuse(send)
            return
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        slot = _Slot(self._slots)

        async def send_and_release(message: Message) -> None:
            is_part = message["type"] == "http.response.body" and message.get("more_body")
            if is_part and slot.release():
                await release_thread()
            await send(message)

        try:
            await self._application(scope, receive, send_and_release)
        finally:
            slot.release()


class _Slot:
    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots: asyncio.Semaphore | None = slots

    def release(self) -> bool:
        """Release the slot once; return whether this call did it."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()
        return slots is not None


async def _refuse(send: Send) -> None:
    from training.api.errors import CONTENT_TYPE, problem_body

    body = json.dumps(problem_body(503, "Too many requests are waiting; try again soon.")).encode()
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(RETRY_AFTER_SECONDS).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
