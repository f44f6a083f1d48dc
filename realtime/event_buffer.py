"""A job's latest seq and its newest frames, which all subscribers of this process share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

from realtime.interfaces import Frame

BUFFER_SIZE = 512
PAGE_SIZE = 200
# Older frames, read from the database, are added only up to this buffer length.
MAX_OLDER = 64


class Subscriber(Protocol):
    """A subscription with a cursor in a buffer."""

    def buffer_changed(self, buffer: JobEventBuffer) -> None:
        """Called in the event loop, and must not raise."""
        ...


class JobEventBuffer:
    """A job's latest seq and a ring buffer of its newest frames without gaps."""

    def __init__(self, job_id: UUID, on_change: Callable[[JobEventBuffer], None]) -> None:
        """`on_change` schedules the calls of the subscribers."""
        self.job_id = job_id
        self.latest_seq = 0
        # The newest ephemeral event of each kind, with its ordinal number in this buffer.
        self.ephemeral: dict[str, tuple[int, bytes]] = {}
        self.ephemeral_count = 0
        self.subscribers: set[Subscriber] = set()
        # A buffer that has not joined the job's group serves only subscriptions to all jobs, whose
        # group delivers the same events. It is live once the latest seq was read after joining.
        self.joined = self.live = False
        self.lock = asyncio.Lock()
        self.reading = asyncio.Lock()
        self.changed_at = time.monotonic()
        self._on_change = on_change
        # A list, because a deque is slow to read near its end.
        self._frames: list[Frame] = []

    def put(self, frame: Frame) -> None:
        """Append a new frame; after a gap the ring buffer restarts at this frame."""
        if self._frames and frame.seq <= self._frames[-1].seq:
            return
        if self._frames and frame.seq != self._frames[-1].seq + 1:
            self._frames.clear()
        self._frames.append(frame)
        del self._frames[:-BUFFER_SIZE]
        self.advance_to(frame.seq)

    def put_older(self, stored: Sequence[Frame]) -> None:
        """Keep the last few of these frames from the rows, if the ring buffer continues them."""
        following = self._frames[0].seq if self._frames else self.latest_seq + 1
        older = [frame for frame in stored if frame.seq < following]
        seqs = [frame.seq for frame in older]
        if seqs == list(range(following - len(seqs), following)):
            room = max(0, MAX_OLDER - len(self._frames))
            self._frames[:0] = older[-room:] if room else []

    def advance_to(self, seq: int) -> None:
        if seq > self.latest_seq:
            self.latest_seq = seq
            self._changed()

    def put_ephemeral(self, event: str, body: bytes) -> None:
        self.ephemeral_count += 1
        self.ephemeral[event] = self.ephemeral_count, body
        self._changed()

    def ephemeral_after(self, count: int) -> list[bytes]:
        """The newest ephemeral event of each kind that came since there were `count`."""
        if count == self.ephemeral_count:
            return []
        return [body for number, body in sorted(self.ephemeral.values()) if number > count]

    def after(self, seq: int) -> list[Frame] | None:
        """At most a page of frames after `seq`; None where they have to be read from the rows."""
        if seq >= self.latest_seq:
            return []
        if not self._frames or seq + 1 < self._frames[0].seq or seq >= self._frames[-1].seq:
            return None
        start = seq + 1 - self._frames[0].seq
        return self._frames[start : start + PAGE_SIZE]

    def _changed(self) -> None:
        self.changed_at = time.monotonic()
        if self.subscribers:
            self._on_change(self)
