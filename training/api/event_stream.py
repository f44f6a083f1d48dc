"""A job's events as server-sent events, for clients that cannot open a WebSocket.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from realtime import connections, protocol
from realtime.protocol import Cursor
from realtime.subscription import Subscription
from training.accounts import limits
from training.accounts.limits import LimitReachedError
from training.accounts.permissions import signed_in_user
from training.accounts.tokens import TokenCredential
from training.api.held_places import release_after
from training.events.hub import get_hub
from training.request_thread import release_thread

# Proxies close an idle connection, and a browser cannot tell it from a dead one.
PULSE_SECONDS = 5.0
RETRY = b"retry: 1000\n"
PULSE = b"event: pulse\ndata:\n\n"

Messages = Callable[[Subscription, connections.Connection], AsyncGenerator[bytes, None]]


class EventStreamRenderer(JSONRenderer):
    """Accepts `text/event-stream`; errors are rendered as JSON."""

    media_type = "text/event-stream"
    format = "stream"


def event_stream_response(request: Request, job_id: UUID, after: Cursor) -> StreamingHttpResponse:
    """The events after `after`, then new ones, until the client disconnects."""
    return stream_response(request, partial(_messages, job_id=job_id, after=after))


def stream_response(request: Request, messages: Messages) -> StreamingHttpResponse:
    """Server-sent events as a response; counts as one of the user's open connections."""
    user = signed_in_user(request)
    if isinstance(request.auth, TokenCredential):
        token, as_staff = request.auth.token, not request.auth.withheld_staff
        credential = connections.Credential(user.pk, token=token, as_staff=as_staff)
    else:
        credential = connections.Credential(user.pk, session=request.session.session_key or "")
    try:
        place = connections.Place(user.pk, limits.max_streams(user.pk))
    except connections.TooManyConnectionsError as error:
        raise LimitReachedError(limits.STREAMS, user, error.used, error.maximum) from None
    content = _stream(credential, messages, place)
    stream = StreamingHttpResponse(content, content_type="text/event-stream")
    release_after(stream, place.release)
    stream["Cache-Control"] = "no-store"
    stream["X-Accel-Buffering"] = "no"
    stream["Content-Encoding"] = "identity"  # compression would delay events
    return stream


async def _stream(
    credential: connections.Credential, messages: Messages, place: connections.Place
) -> AsyncGenerator[bytes, None]:
    await release_thread()
    subscription = Subscription(get_hub(), credential.viewer)
    with connections.register(credential, subscription.jobs, place) as connection:
        try:
            async with aclosing(messages(subscription, connection)) as found:
                async for one in found:
                    yield one
        finally:
            await subscription.close()


async def _messages(
    subscription: Subscription, connection: connections.Connection, job_id: UUID, after: Cursor
) -> AsyncGenerator[bytes, None]:
    found = await subscription.subscribe(job_id, after)
    connected = protocol.connected(job_id, found.latest_seq, reset=found.reset)
    yield RETRY + _message(connected.encode())
    async with aclosing(next_frames(subscription, connection, PULSE_SECONDS)) as frames:
        async for frame in frames:
            yield PULSE if frame is None else _message(frame)


async def next_frames(
    subscription: Subscription, connection: connections.Connection, seconds: float
) -> AsyncGenerator[bytes | None, None]:
    """Each frame, and None after each `seconds` without one, until the connection closes.

    A client that reconnects after that gets the reason.
    """
    frames = subscription.frames()
    next_frame = asyncio.ensure_future(anext(frames))
    try:
        while True:
            awaited: set[asyncio.Future[Any]] = {next_frame, connection.closed}
            done, _ = await asyncio.wait(
                awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if connection.closed.done():
                return
            if not done:
                yield None
                continue
            yield next_frame.result()
            next_frame = asyncio.ensure_future(anext(frames))
    finally:
        next_frame.cancel()


def _message(body: bytes) -> bytes:
    return message(body, json.loads(body).get("seq"))


def message(body: bytes, number: int | None, event: str = "") -> bytes:
    """One server-sent event; `body` has no line breaks."""
    kind = b"" if not event else b"event: %s\n" % event.encode()
    name = b"" if number is None else b"id: %d\n" % number
    return kind + name + b"data: " + body + b"\n\n"
