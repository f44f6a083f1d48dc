"""The output of an attempt as server-sent events; the `id` of each is the offset of its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from uuid import UUID

import orjson
from channels.db import database_sync_to_async
from django.http import StreamingHttpResponse
from django.utils import timezone
from rest_framework.request import Request

from realtime import events
from realtime.connections import Connection
from realtime.subscription import Subscription
from training.api import event_stream
from training.api.log_downloads import gap_line
from training.jobs import logs
from training.models import Job
from training.models.states import ACTIVE, Status

# `training:log` events announce new output; without any, it is looked for this often.
POLL_SECONDS = 1.0
CHECK_ENDED_SECONDS = 5.0
MAX_SEQ_POSITION = 80


def log_stream_response(
    request: Request, job_id: UUID, attempt: int, after: int
) -> StreamingHttpResponse:
    """The output after `after`, then what is added, until the attempt ends."""
    return event_stream.stream_response(
        request, partial(_messages, job_id=job_id, attempt=attempt, after=after)
    )


def has_ended(job_id: UUID, attempt: int) -> bool:
    """Whether the output of this attempt is complete."""
    row = Job.objects.filter(pk=job_id).values_list("attempt", "status").first()
    if row is None or row[0] > attempt:
        return True
    newest, status = row
    return status not in ACTIVE if newest < attempt else status != Status.RUNNING


async def _messages(
    subscription: Subscription, connection: Connection, job_id: UUID, attempt: int, after: int
) -> AsyncGenerator[bytes, None]:
    reader = _Reader(job_id, attempt, after)
    await subscription.subscribe_to_new(job_id)  # events say when to look
    yield event_stream.RETRY + event_stream.PULSE
    ended, checked = await reader.has_ended(), time.monotonic()
    async with aclosing(event_stream.next_frames(subscription, connection, POLL_SECONDS)) as frames:
        while True:
            async for message in reader.new_messages(final=ended):
                yield message
                if connection.closed.done():
                    return
            if ended:
                yield reader.end_message()
                return
            if reader.seconds_idle() > event_stream.PULSE_SECONDS:
                reader.active_at = time.monotonic()
                yield event_stream.PULSE
            try:
                frame = await anext(frames)
            except StopAsyncIteration:
                return
            # Only events with a seq change the job.
            changed = frame is not None and b'"seq":' in frame[:MAX_SEQ_POSITION]
            if changed or time.monotonic() - checked >= CHECK_ENDED_SECONDS:
                ended, checked = await reader.has_ended(), time.monotonic()


class _Reader:
    """The position of a stream in the output."""

    def __init__(self, job_id: UUID, attempt: int, after: int) -> None:
        self._job_id, self._attempt, self._after = job_id, attempt, after
        self._log = logs.attempt_log(job_id, attempt)
        self.active_at = time.monotonic()

    def seconds_idle(self) -> float:
        return time.monotonic() - self.active_at

    async def has_ended(self) -> bool:
        check = database_sync_to_async(has_ended, thread_sensitive=False)
        return bool(await check(self._job_id, self._attempt))

    async def new_messages(self, *, final: bool) -> AsyncGenerator[bytes, None]:
        while text := await asyncio.to_thread(self._next_text, final=final):
            yield text
            self.active_at = time.monotonic()

    def end_message(self) -> bytes:
        body = {"job_id": str(self._job_id), "attempt": self._attempt, "size": self._after}
        return event_stream.message(orjson.dumps(body), self._after, "end")

    def _next_text(self, *, final: bool) -> bytes:
        """The next message; empty if there is none yet."""
        start, piece = self._after, self._log.read(self._after)
        at_end = len(piece.data) < logs.BLOCK_SIZE
        text, consumed = logs.decode(piece.data, final=final and at_end)
        if piece.gap:
            text = gap_line(piece.gap, is_first=False) + text
        if not text:
            return b""
        self._after = piece.start + consumed
        data = {
            "job_id": str(self._job_id), "attempt": self._attempt, "after": start, "text": text,
        }  # fmt: skip
        frame = events.encode(events.Log.event, None, timezone.now(), data)
        return event_stream.message(frame, self._after)
