"""Calls the subscribers of changed buffers, a limited number in each iteration of the loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from realtime.event_buffer import JobEventBuffer, Subscriber

# In one iteration of the event loop. Writing to a socket takes about 10 us.
SUBSCRIBERS_AT_ONCE = 100


class FanOut:
    """The buffers take turns, so a job with thousands of subscribers does not delay other jobs.

    A subscriber that is called late writes several frames at once, which is cheaper.
    """

    def __init__(self) -> None:
        # Changed buffers, with the rest of their subscribers if their turn has begun.
        self._uncalled: OrderedDict[JobEventBuffer, list[Subscriber]] = OrderedDict()
        self._changed_again: set[JobEventBuffer] = set()
        self._wakeup = asyncio.Event()

    def add(self, buffer: JobEventBuffer) -> None:
        """Call all subscribers of the buffer soon, once for several changes."""
        if self._uncalled.setdefault(buffer, []):
            self._changed_again.add(buffer)
        self._wakeup.set()

    async def run(self) -> None:
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            called = 0
            while self._uncalled:
                called += self._call_some()
                if called >= SUBSCRIBERS_AT_ONCE:
                    called = 0
                    await asyncio.sleep(0)

    def _call_some(self) -> int:
        buffer, uncalled = self._uncalled.popitem(last=False)
        uncalled = uncalled or list(buffer.subscribers)
        subscribers = uncalled[-SUBSCRIBERS_AT_ONCE:]
        del uncalled[-SUBSCRIBERS_AT_ONCE:]
        for subscriber in subscribers:
            subscriber.buffer_changed(buffer)
        if uncalled or buffer in self._changed_again:
            self._uncalled[buffer] = uncalled
        if not uncalled:
            self._changed_again.discard(buffer)
        return len(subscribers)
