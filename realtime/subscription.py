"""One socket's view: a cursor on each job it follows, and the frames that come next."""

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
    log: JobEventBuffer
    cursor: int
    fleeting: int


class Subscription:
    """Follows any number of jobs; each seq comes once and in order, however it got here."""

    def __init__(self, hub: Hub, user_id: int) -> None:
        self._hub, self._user_id = hub, user_id
        self._followed: dict[UUID, _JobCursor] = {}
        self._waker = asyncio.Event()
        # For a watch of everything: where each job stood when it began, and who may not be seen.
        self._began: dict[UUID, int] | None = None
        self._moved: set[UUID] = set()
        self._refused: set[UUID] = set()

    async def may_see(self, job_id: UUID) -> bool:
        check = database_sync_to_async(self._hub.journal.may_watch, thread_sensitive=False)
        return bool(await check(self._user_id, job_id))

    async def follow(self, job_id: UUID, after: int) -> int:
        """From now on this job's events after `after`; returns the job's newest seq."""
        log = await self._hub.watch(job_id, self._waker)
        cursor = min(after, log.head)
        self._followed[job_id] = _JobCursor(log, cursor, log.fleeting_count)
        self._waker.set()
        return log.head

    async def unfollow(self, job_id: UUID) -> None:
        if self._followed.pop(job_id, None):
            await self._hub.leave(job_id, self._waker)

    async def follow_everything(self) -> None:
        """From now on every event of every job that the user may see."""
        await self._hub.watch_everything(self._note)
        self._began = await database_sync_to_async(
            self._hub.journal.heads_since, thread_sensitive=False
        )(EPOCH_START)
        self._waker.set()

    async def unfollow_everything(self) -> None:
        if self._began is not None:
            self._began = None
            await self._hub.leave_everything(self._note)
            for job_id in list(self._followed):
                await self.unfollow(job_id)

    @property
    def count(self) -> int:
        """How many jobs it follows."""
        return len(self._followed)

    def jobs(self) -> Collection[UUID]:
        """Which it follows."""
        return self._followed.keys()

    @property
    def everything(self) -> bool:
        return self._began is not None

    async def close(self) -> None:
        await self.unfollow_everything()
        for job_id in list(self._followed):
            await self.unfollow(job_id)

    async def frames(self) -> AsyncIterator[bytes]:
        """Each frame as it comes; a page at a time and job by job, so that none waits for long."""
        while True:
            await self._waker.wait()
            self._waker.clear()
            if self._began is not None:
                await self._follow_what_moved()
            for followed in list(self._followed.values()):
                async for body in self._next_page(followed):
                    yield body

    async def _next_page(self, followed: _JobCursor) -> AsyncIterator[bytes]:
        log = followed.log
        page = await self._hub.frames(log, followed.cursor)
        for frame in page:
            if self._followed.get(log.job_id) is not followed:
                return  # the client has meanwhile left it, or begun it anew
            yield frame.body
            followed.cursor = frame.seq
        if followed.cursor < log.head and page:
            self._waker.set()
        elif followed.fleeting != log.fleeting_count and log.fleeting is not None:
            followed.fleeting = log.fleeting_count
            yield log.fleeting

    async def _follow_what_moved(self) -> None:
        moved, self._moved = self._moved, set()
        for job_id in moved - self._refused - self._followed.keys():
            if await self.may_see(job_id):
                # A job that was not there when the watch began is followed from its first event.
                await self.follow(job_id, (self._began or {}).get(job_id, 0))
            else:
                self._refused.add(job_id)

    def _note(self, job_id: UUID) -> None:
        if job_id not in self._followed and job_id not in self._refused:
            self._moved.add(job_id)
            self._waker.set()
