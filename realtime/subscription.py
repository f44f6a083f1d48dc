"""A client's subscription: a cursor for each subscribed job, and the frames to send next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from channels.db import database_sync_to_async

from realtime.hub import Hub, JobEventBuffer

EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _JobCursor:
    buffer: JobEventBuffer
    seq: int
    ephemeral_count: int


class Subscription:
    """Any number of jobs; each seq is delivered once and in order, from the buffer or the rows."""

    def __init__(self, hub: Hub, user_id: int) -> None:
        self._hub, self._user_id = hub, user_id
        self._cursors: dict[UUID, _JobCursor] = {}
        self._wakeup = asyncio.Event()
        # For a subscription to all jobs: each job's latest seq at its start, and the jobs to skip.
        self._initial_seqs: dict[UUID, int] | None = None
        self._changed: set[UUID] = set()
        self._not_visible: set[UUID] = set()

    async def can_view(self, job_id: UUID) -> bool:
        check = database_sync_to_async(self._hub.store.can_view, thread_sensitive=False)
        return bool(await check(self._user_id, job_id))

    async def subscribe(self, job_id: UUID, after: int) -> int:
        """Deliver this job's events after seq `after`; return the job's latest seq."""
        buffer = await self._hub.subscribe(job_id, self._wakeup)
        seq = min(after, buffer.latest_seq)
        self._cursors[job_id] = _JobCursor(buffer, seq, buffer.ephemeral_count)
        self._wakeup.set()
        return buffer.latest_seq

    async def unsubscribe(self, job_id: UUID) -> None:
        if self._cursors.pop(job_id, None):
            await self._hub.unsubscribe(job_id, self._wakeup)

    async def subscribe_all(self) -> None:
        """Deliver every new event of every job that the user can view."""
        await self._hub.subscribe_all(self._on_change)
        self._initial_seqs = await database_sync_to_async(
            self._hub.store.latest_seqs_since, thread_sensitive=False
        )(EPOCH_START)
        self._wakeup.set()

    async def unsubscribe_all(self) -> None:
        """End a subscription to all jobs; single subscriptions stay."""
        if self._initial_seqs is not None:
            self._initial_seqs = None
            await self._hub.unsubscribe_all(self._on_change)
            for job_id in list(self._cursors):
                await self.unsubscribe(job_id)

    def jobs(self) -> Collection[UUID]:
        return self._cursors.keys()

    async def close(self) -> None:
        await self.unsubscribe_all()
        for job_id in list(self._cursors):
            await self.unsubscribe(job_id)

    async def frames(self) -> AsyncIterator[bytes]:
        """Each frame as it arrives, one page per job in turn, so that no job blocks the others."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            if self._initial_seqs is not None:
                await self._subscribe_changed()
            for job_cursor in list(self._cursors.values()):
                async for body in self._next_page(job_cursor):
                    yield body

    async def _next_page(self, job_cursor: _JobCursor) -> AsyncIterator[bytes]:
        buffer = job_cursor.buffer
        page = await self._hub.frames(buffer, job_cursor.seq)
        for frame in page:
            if self._cursors.get(buffer.job_id) is not job_cursor:
                return  # the client has unsubscribed or subscribed again meanwhile
            yield frame.body
            job_cursor.seq = frame.seq
        if job_cursor.seq < buffer.latest_seq and page:
            self._wakeup.set()
        elif job_cursor.ephemeral_count != buffer.ephemeral_count and buffer.ephemeral is not None:
            job_cursor.ephemeral_count = buffer.ephemeral_count
            yield buffer.ephemeral

    async def _subscribe_changed(self) -> None:
        changed, self._changed = self._changed, set()
        for job_id in changed - self._not_visible - self._cursors.keys():
            if await self.can_view(job_id):
                # A job created after the subscription began is delivered from its first event.
                await self.subscribe(job_id, (self._initial_seqs or {}).get(job_id, 0))
            else:
                self._not_visible.add(job_id)

    def _on_change(self, job_id: UUID) -> None:
        if job_id not in self._cursors and job_id not in self._not_visible:
            self._changed.add(job_id)
            self._wakeup.set()
