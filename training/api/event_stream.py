"""A job's events as server-sent events, for clients that cannot open a WebSocket.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from rest_framework.exceptions import Throttled
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from realtime import connections, protocol
from realtime.subscription import Subscription
from training.accounts.permissions import signed_in_user
from training.events.hub import get_hub

# Proxies close an idle connection, and a browser cannot tell it from a dead one.
PULSE_SECONDS = 5.0
RETRY_MS = 1000


class EventStreamRenderer(JSONRenderer):
    """Accepts `text/event-stream`; errors are rendered as JSON."""

    media_type = "text/event-stream"
    format = "stream"


def event_stream_response(request: Request, job_id: UUID, after: int) -> StreamingHttpResponse:
    """The events after `after`, then new ones, until the client disconnects."""
    token, session = str(request.auth or ""), request.session.session_key or ""
    credential = connections.Credential(signed_in_user(request).pk, token, "" if token else session)
    if connections.at_limit(credential.user_id):
        raise Throttled(detail="Too many open streams and sockets; close some of them first.")
    stream = StreamingHttpResponse(
        _stream(credential, job_id, after), content_type="text/event-stream"
    )
    stream["Cache-Control"] = "no-store"
    stream["X-Accel-Buffering"] = "no"
    stream["Content-Encoding"] = "identity"  # compression would delay events
    return stream


async def _stream(
    credential: connections.Credential, job_id: UUID, after: int
) -> AsyncIterator[bytes]:
    subscription = Subscription(get_hub(), credential.user_id)
    with connections.register(credential, subscription.jobs) as connection:
        async for message in _messages(subscription, connection, job_id, after):
            yield message


async def _messages(
    subscription: Subscription, connection: connections.Connection, job_id: UUID, after: int
) -> AsyncIterator[bytes]:
    try:
        latest_seq = await subscription.subscribe(job_id, after)
        yield f"retry: {RETRY_MS}\n".encode() + _message(
            protocol.connected(job_id, latest_seq).encode()
        )
        frames = subscription.frames()
        next_frame = asyncio.ensure_future(anext(frames))
        try:
            while True:
                awaited: set[asyncio.Future[Any]] = {next_frame, connection.closed}
                done, _ = await asyncio.wait(
                    awaited, timeout=PULSE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if connection.closed.done():
                    return  # a client that reconnects gets the reason
                if not done:
                    yield b"event: pulse\ndata:\n\n"
                    continue
                yield _message(next_frame.result())
                next_frame = asyncio.ensure_future(anext(frames))
        finally:
            next_frame.cancel()
    finally:
        await subscription.close()


def _message(body: bytes) -> bytes:
    seq = json.loads(body).get("seq")
    name = b"" if seq is None else b"id: %d\n" % seq
    return name + b"data: " + body + b"\n\n"
