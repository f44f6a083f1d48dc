"""A client's subscription: a cursor for each subscribed job, and the frames to send next."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async

from realtime.connections import Viewer
from realtime.event_buffer import JobEventBuffer
from realtime.hub import Hub
from realtime.interfaces import Frame, Position
from realtime.protocol import Cursor

# A subscription to all jobs holds a cursor of a job only until it has been quiet for this long.
QUIET_SECONDS = 60.0
# It stores the last seq of jobs without a cursor, and for a while which jobs are invisible.
MAX_STORED_JOBS = 10_000
HIDDEN_SECONDS = 30.0
FRAMES_PER_WRITE = 50

# Writes all frames immediately, or none of them and returns False.
Write = Callable[[tuple[bytes, ...]], bool]

log = logging.getLogger(__name__)


def _cannot_write(_: tuple[bytes, ...]) -> bool:
    return False


@dataclass(slots=True)
class _JobCursor:
    buffer: JobEventBuffer
    seq: int
    ephemeral_count: int

    def at_end(self) -> bool:
        buffer = self.buffer
        return self.seq >= buffer.latest_seq and self.ephemeral_count >= buffer.ephemeral_count


@dataclass(slots=True)
class _AllJobs:
    """The state of a subscription to all jobs.

    It starts at a position in the store, so it need not know any job before that job changes.
    """

    position: Position = field(default_factory=Position)
    # Jobs without a cursor that changed; the newest seq, or None for an ephemeral event.
    changed: dict[UUID, int | None] = field(default_factory=dict)
    # Where jobs were left, and until when jobs count as invisible.
    left_at: dict[UUID, int] = field(default_factory=dict)
    hidden_until: dict[UUID, float] = field(default_factory=dict)
    resynced: bool = False

    def add_change(self, job_id: UUID, seq: int | None) -> bool:
        """Whether the job has to be looked at."""
        if self.hidden_until.get(job_id, 0.0) > time.monotonic():
            return False
        if seq is not None and seq <= self.left_at.get(job_id, -1):
            return False
        self.changed[job_id] = seq
        return True

    def hide(self, job_id: UUID) -> None:
        self.hidden_until[job_id] = time.monotonic() + HIDDEN_SECONDS
        _drop_oldest(self.hidden_until)

    def leave(self, job_id: UUID, seq: int) -> None:
        self.left_at[job_id] = seq
        _drop_oldest(self.left_at)


def _drop_oldest(stored: dict[UUID, Any]) -> None:
    if len(stored) > MAX_STORED_JOBS:
        del stored[next(iter(stored))]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The latest seq, and whether the client's cursor was not of this log."""

    latest_seq: int
    reset: bool


class Subscription:
    """Any number of jobs; each seq is delivered once and in order, from the buffer or the rows.

    While the client reads fast enough, frames are written directly when the buffer changes, without
    a task switch. `frames` yields the frames that could not be written directly.
    """

    def __init__(self, hub: Hub, viewer: Viewer, write: Write | None = None) -> None:
        self._hub, self._viewer = hub, viewer
        self._write = write or _cannot_write
        self._cursors: dict[UUID, _JobCursor] = {}
        self._wakeup = asyncio.Event()
        # Whether `frames` is idle. Only then may frames be written directly, in the right order.
        self._is_waiting = False
        self._all_jobs: _AllJobs | None = None

    async def can_view(self, job_id: UUID) -> bool:
        store = self._hub.store
        return await self._hub.shared_calls.run(store.can_view, self._viewer, job_id)

    async def subscribe(self, job_id: UUID, after: Cursor) -> Subscribed:
        """Deliver this job's events after the cursor; all of them if it is not of this log."""
        buffer = await self._hub.subscribe(job_id, self)
        reset = after.seq > 0 and not await self._is_of_this_log(buffer, after)
        self._add_cursor(buffer, 0 if reset else after.seq)
        return Subscribed(buffer.latest_seq, reset)

    async def subscribe_to_new(self, job_id: UUID) -> None:
        """Deliver only the events that this job will have."""
        buffer = await self._hub.subscribe(job_id, self)
        self._add_cursor(buffer, buffer.latest_seq)

    async def _is_of_this_log(self, buffer: JobEventBuffer, after: Cursor) -> bool:
        """Whether the job has the client's last event.

        After a restore from a backup the log may be shorter, or have another event of that seq.
        """
        if after.seq > buffer.latest_seq and not await self._hub.has_seq(buffer, after.seq):
            return False
        if not after.timestamp:
            return True
        store = self._hub.store
        return await self._hub.shared_calls.run(
            store.has_event, buffer.job_id, after.seq, after.timestamp
        )

    async def unsubscribe(self, job_id: UUID) -> None:
        if self._cursors.pop(job_id, None):
            await self._hub.unsubscribe(job_id, self)

    async def subscribe_all(self) -> None:
        """Deliver the events that are stored from now on, of every job that the user can view."""
        # Changes are noted before the position is read, so that none falls between.
        self._all_jobs = state = _AllJobs()
        await self._hub.subscribe_all(self)
        state.position = await self._hub.shared_calls.run(self._hub.store.position)
        self._wakeup.set()

    async def unsubscribe_all(self) -> None:
        """End a subscription to all jobs; single subscriptions stay."""
        if self._all_jobs is not None:
            self._all_jobs = None
            await self._hub.unsubscribe_all(self)
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
            self._is_waiting = True
            try:
                await self._wakeup.wait()
            finally:
                self._is_waiting = False
            self._wakeup.clear()
            if self._all_jobs is not None:
                await self._follow_changed(self._all_jobs)
            if self._all_jobs is not None and self._all_jobs.resynced:
                await self._leave_quiet(self._all_jobs)
            for job_cursor in list(self._cursors.values()):
                if not job_cursor.at_end():
                    async for body in self._next_page(job_cursor):
                        yield body

    def job_changed(self, job_id: UUID, seq: int | None) -> None:
        if self._all_jobs is None or job_id in self._cursors:
            return
        if self._all_jobs.add_change(job_id, seq):
            self._wakeup.set()

    def resynced(self) -> None:
        if self._all_jobs is not None:
            self._all_jobs.resynced = True
            self._wakeup.set()

    def buffer_changed(self, buffer: JobEventBuffer) -> None:
        job_cursor = self._cursors.get(buffer.job_id)
        try:
            if job_cursor is None or not self._is_waiting or not self._write_news(job_cursor):
                self._wakeup.set()
        except Exception:
            self._wakeup.set()  # the error occurs again in `frames`, and affects only this client

    def _write_news(self, job_cursor: _JobCursor) -> bool:
        """Write all that follows the cursor; False if something is left for `frames`."""
        buffer = job_cursor.buffer
        page = buffer.after(job_cursor.seq)
        if page is None or not self._write_page(job_cursor, page[:FRAMES_PER_WRITE]):
            return False
        if job_cursor.at_end():
            return True
        newest = tuple(buffer.ephemeral_after(job_cursor.ephemeral_count))
        if job_cursor.seq < buffer.latest_seq or not self._write(newest):
            return False
        job_cursor.ephemeral_count = buffer.ephemeral_count
        return True

    def _write_page(self, job_cursor: _JobCursor, page: Sequence[Frame]) -> bool:
        if page and self._write(tuple([frame.body for frame in page])):
            job_cursor.seq = page[-1].seq
            return True
        return not page

    async def _next_page(self, job_cursor: _JobCursor) -> AsyncIterator[bytes]:
        buffer = job_cursor.buffer
        page = await self._hub.frames(buffer, job_cursor.seq)
        for start in range(0, len(page), FRAMES_PER_WRITE):
            part = page[start : start + FRAMES_PER_WRITE]
            if self._is_current(job_cursor) and self._write_page(job_cursor, part):
                continue
            for frame in part:
                if not self._is_current(job_cursor):
                    return
                yield frame.body
                job_cursor.seq = frame.seq
        if job_cursor.seq < buffer.latest_seq and page:
            self._wakeup.set()
        else:
            newest = buffer.ephemeral_after(job_cursor.ephemeral_count)
            job_cursor.ephemeral_count = buffer.ephemeral_count
            for body in newest:
                yield body

    def _is_current(self, job_cursor: _JobCursor) -> bool:
        """Whether the client has neither unsubscribed nor subscribed again since."""
        return self._cursors.get(job_cursor.buffer.job_id) is job_cursor

    def _add_cursor(self, buffer: JobEventBuffer, seq: int) -> None:
        self._cursors[buffer.job_id] = _JobCursor(buffer, seq, buffer.ephemeral_count)
        self._wakeup.set()

    async def _follow_changed(self, state: _AllJobs) -> None:
        """Add cursors of the changed jobs that the user can view, with one query."""
        changed, state.changed = state.changed, {}
        for job_id in changed.keys() & self._cursors.keys():
            del changed[job_id]
        if not changed:
            return
        look_up = database_sync_to_async(self._hub.store.visible_seqs, thread_sensitive=False)
        try:
            visible = await look_up(self._viewer, list(changed), state.position)
        except Exception as error:
            # The database is unavailable: the next resync wakes this subscription again.
            log.info("Could not look up %d changed jobs: %r", len(changed), error)
            state.changed = {**changed, **state.changed}
            return
        if self._all_jobs is not state:
            return  # the client has narrowed its subscription
        for job_id, seq in changed.items():
            found = visible.get(job_id)
            if found is None:
                state.hide(job_id)
                continue
            start = state.left_at.pop(job_id, found.at_position)
            if seq is None or start < found.latest:
                self._add_cursor(self._hub.attach(job_id, found.latest, self), start)
            else:
                state.leave(job_id, start)

    async def _leave_quiet(self, state: _AllJobs) -> None:
        state.resynced = False
        quiet_since = time.monotonic() - QUIET_SECONDS
        for job_id, job_cursor in list(self._cursors.items()):
            if job_cursor.buffer.changed_at < quiet_since and job_cursor.at_end():
                state.leave(job_id, job_cursor.seq)
                await self.unsubscribe(job_id)
