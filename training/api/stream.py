"""A job's events as server-sent events: the socket's cursor, for those whom no socket reaches.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID

from django.http import StreamingHttpResponse
from rest_framework.exceptions import Throttled
from rest_framework.renderers import JSONRenderer

from realtime import lines, protocol
from realtime.watch import Watch
from training.watching import hub

# A line that stays silent is cut by proxies, and a browser cannot tell it from a dead one.
PULSE_SECONDS = 5.0
RETRY_MS = 1000


class EventStream(JSONRenderer):
    """Lets a client that asks for a stream through; an error is JSON all the same."""

    media_type = "text/event-stream"
    format = "stream"


def answer(user_id: int, job_id: UUID, after: int) -> StreamingHttpResponse:
    """The events after `after`, then what comes, until the other side goes."""
    if lines.full(user_id):
        raise Throttled(detail="You have too many streams and sockets open; close some first.")
    stream = StreamingHttpResponse(
        _stream(user_id, job_id, after), content_type="text/event-stream"
    )
    stream["Cache-Control"] = "no-store"
    stream["X-Accel-Buffering"] = "no"
    stream["Content-Encoding"] = "identity"  # compressing would hold events back
    return stream


async def _stream(user_id: int, job_id: UUID, after: int) -> AsyncIterator[bytes]:
    watch = Watch(hub(), user_id)
    with lines.line(user_id):
        async for message in _messages(watch, job_id, after):
            yield message


async def _messages(watch: Watch, job_id: UUID, after: int) -> AsyncIterator[bytes]:
    try:
        head = await watch.follow(job_id, after)
        yield f"retry: {RETRY_MS}\n".encode() + _message(protocol.connected(job_id, head).encode())
        frames = watch.frames()
        coming = asyncio.ensure_future(anext(frames))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=PULSE_SECONDS)
                if not done:
                    yield b"event: pulse\ndata:\n\n"
                    continue
                yield _message(coming.result())
                coming = asyncio.ensure_future(anext(frames))
        finally:
            coming.cancel()
    finally:
        await watch.close()


def _message(body: bytes) -> bytes:
    seq = json.loads(body).get("seq")
    name = b"" if seq is None else b"id: %d\n" % seq
    return name + b"data: " + body + b"\n\n"
