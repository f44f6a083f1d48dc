"""The jobs that are watched in this process: each a log with a ring of its newest frames.

A watcher holds nothing but a cursor. The log joins the job's group first and reads its head from
the rows then, so nothing falls between; every two seconds one query for the heads of all watched
jobs heals whatever a broker has lost, the last event of a job included.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import Any
from uuid import UUID

import orjson
from channels.db import database_sync_to_async
from channels.layers import BaseChannelLayer, channel_layers
from django.conf import settings

from realtime import connections
from realtime.connections import Connection
from realtime.interfaces import EventStore, Frame
from realtime.metrics import LATENCY
from realtime.protocol import Close
from realtime.transport import ALL_JOBS, group_of, register_local_layer

RING = 512
PAGE = 200
HEAL_SECONDS = 2.0
# Every so many looks: who follows many jobs makes it a long one.
ACCESS_ROUNDS = 3
# Changes are looked for from this long before the last look: clocks differ, commits take time.
OVERLAP = timedelta(seconds=30)

log = logging.getLogger(__name__)


class JobEventBuffer:
    """One job as this process knows it: its newest seq, and its newest frames without a hole."""

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        self.head = 0
        self.fleeting: bytes | None = None
        self.fleeting_count = 0
        self.wakers: set[asyncio.Event] = set()
        self.joined = asyncio.Event()
        self._ring: deque[Frame] = deque(maxlen=RING)

    def wake(self) -> None:
        for waker in self.wakers:
            waker.set()

    def put(self, frame: Frame) -> None:
        """Take the next frame; one that leaves a hole behind it starts the ring anew."""
        if self._ring and frame.seq <= self._ring[-1].seq:
            return
        if self._ring and frame.seq != self._ring[-1].seq + 1:
            self._ring.clear()
        self._ring.append(frame)
        self.move_to(frame.seq)

    def move_to(self, head: int) -> None:
        if head > self.head:
            self.head = head
            self.wake()

    def put_fleeting(self, body: bytes) -> None:
        self.fleeting, self.fleeting_count = body, self.fleeting_count + 1
        self.wake()

    def after(self, cursor: int) -> list[Frame] | None:
        """At most a page of what follows `cursor`; None where only the rows have it."""
        if cursor >= self.head:
            return []
        if not self._ring or cursor + 1 < self._ring[0].seq or cursor >= self._ring[-1].seq:
            return None
        start = cursor + 1 - self._ring[0].seq
        return list(islice(self._ring, start, start + PAGE))


class Hub:
    """One for the process and its event loop."""

    def __init__(self, journal: EventStore, layer: BaseChannelLayer) -> None:
        self.journal = journal
        self._layer = layer
        self._logs: dict[UUID, JobEventBuffer] = {}
        self._everything: set[Callable[[UUID], None]] = set()
        self._channel = ""
        self._started: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._look_now = asyncio.Event()
        self._looked_at = datetime.now(UTC)

    async def watch(self, job_id: UUID, waker: asyncio.Event) -> JobEventBuffer:
        """Have `waker` set whenever the job's log moves; the log is up to date on return."""
        await self._start()
        found = self._logs.get(job_id)
        if found is not None:
            found.wakers.add(waker)
            await found.joined.wait()
            return found
        found = self._logs[job_id] = JobEventBuffer(job_id)
        found.wakers.add(waker)
        try:
            await self._layer.group_add(group_of(job_id), self._channel)
            found.move_to((await self.heads([job_id])).get(job_id, 0))
        finally:
            found.joined.set()
        return found

    async def leave(self, job_id: UUID, waker: asyncio.Event) -> None:
        found = self._logs.get(job_id)
        if found is None:
            return
        found.wakers.discard(waker)
        if not found.wakers:
            del self._logs[job_id]
            await self._layer.group_discard(group_of(job_id), self._channel)

    async def watch_everything(self, moved: Callable[[UUID], None]) -> None:
        """Have `moved` called with each job to which anything happens."""
        await self._start()
        self._everything.add(moved)
        if len(self._everything) == 1:
            await self._layer.group_add(ALL_JOBS, self._channel)

    async def leave_everything(self, moved: Callable[[UUID], None]) -> None:
        self._everything.discard(moved)
        if not self._everything:
            await self._layer.group_discard(ALL_JOBS, self._channel)

    async def frames(self, job_log: JobEventBuffer, cursor: int) -> list[Frame]:
        """The next page after `cursor`, from the ring or else from the rows."""
        while (found := job_log.after(cursor)) is None:
            try:
                return list(await _in_thread(self.journal.frames, job_log.job_id, cursor, PAGE))
            except Exception as error:
                # The database is away: the socket stays open and waits, as the rows do.
                log.info("The events of job %s cannot be read: %r", job_log.job_id, error)
                await asyncio.sleep(HEAL_SECONDS)
        return found

    async def heads(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        found: dict[UUID, int] = await _in_thread(self.journal.heads, job_ids)
        return found

    async def _start(self) -> None:
        if self._started is None:
            self._started = asyncio.ensure_future(self._open())
        await asyncio.shield(self._started)

    async def _open(self) -> None:
        self._channel = await self._layer.new_channel()
        for run in (self._listen, self._heal, self._check_lines):
            self._tasks.append(asyncio.ensure_future(_supervised(run)))

    async def _listen(self) -> None:
        while True:
            message: dict[str, Any] = await self._layer.receive(self._channel)
            if message["type"] == "frame":
                self._take(message["body"])
            else:
                self._look_now.set()

    def _take(self, body: bytes) -> None:
        frame = orjson.loads(body)
        if "timestamp" in frame:
            happened = datetime.fromisoformat(frame["timestamp"])
            LATENCY.observe(max(0.0, (datetime.now(UTC) - happened).total_seconds()))
        job_id, seq = UUID(frame["data"]["job_id"]), frame.get("seq")
        for moved in list(self._everything):
            moved(job_id)
        job_log = self._logs.get(job_id)
        if job_log is None:
            return
        if seq is None:
            job_log.put_fleeting(body)
        else:
            job_log.put(Frame(job_id, seq, "", body))

    async def _heal(self) -> None:
        """Look at the rows now and then, and whenever the layer had to connect again."""
        while True:
            try:
                async with asyncio.timeout(HEAL_SECONDS):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()
            if self._everything:
                since, self._looked_at = self._looked_at - OVERLAP, datetime.now(UTC)
                for job_id in await _in_thread(self.journal.heads_since, since):
                    for moved in list(self._everything):
                        moved(job_id)
            if self._logs:
                for job_id, head in (await self.heads(list(self._logs))).items():
                    if job_id in self._logs:
                        self._logs[job_id].move_to(head)

    async def _check_lines(self) -> None:
        """So long a socket may outlive the token that opened it, or its user's leaving a team."""
        for round_ in count(1):
            await asyncio.sleep(HEAL_SECONDS)
            if opened := connections.open_connections():
                await self._check_credentials(opened)
                if round_ % ACCESS_ROUNDS == 0:
                    await self._check_access(opened)

    async def _check_credentials(self, opened: Collection[Connection]) -> None:
        held = {one.credential for one in opened}
        valid = await _in_thread(self.journal.valid, held)
        for one in opened:
            if one.credential not in valid:
                one.end(Close.NOT_AUTHENTICATED)

    async def _check_access(self, opened: Collection[Connection]) -> None:
        follows = [(one.credential.user_id, list(one.follows())) for one in opened]
        hidden = await _in_thread(self.journal.hidden, follows)
        for one in opened if hidden else ():
            if any((one.credential.user_id, job_id) in hidden for job_id in one.follows()):
                # Whoever comes back is given what may still be seen.
                one.end(Close.SERVICE_RESTART)


async def _supervised(run: Callable[[], Any]) -> None:
    """Whatever goes wrong in `run` is said (once, while it stays the same), and it goes on."""
    said = ""
    while True:
        try:
            await run()
        except Exception as error:
            if said != (said := repr(error)):
                log.exception("A watcher of events failed and starts again.")
            await asyncio.sleep(HEAL_SECONDS)


async def _in_thread(call: Callable[..., Any], *args: Any) -> Any:
    # Not on the one thread that Django keeps for its synchronous views: sockets must not wait.
    return await database_sync_to_async(call, thread_sensitive=False)(*args)


def hub_per_event_loop(journal: EventStore) -> Callable[[], Hub]:
    """The hub of the running event loop, over this journal."""
    hubs: dict[asyncio.AbstractEventLoop, Hub] = {}

    def hub() -> Hub:
        loop = asyncio.get_running_loop()
        if loop not in hubs:
            # Not the registry's own layer: it belongs to one event loop, as the hub does.
            layer = channel_layers.make_backend("default")
            if settings.EMBEDDED:
                register_local_layer(layer)
            hubs[loop] = Hub(journal, layer)
        return hubs[loop]

    return hub
