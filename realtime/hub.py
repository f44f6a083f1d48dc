"""The jobs that clients of this process subscribe to, each with a buffer of its newest frames.

A subscriber holds nothing but a cursor. A buffer joins the job's group first and reads the latest
seq from the database afterwards, so no event falls between the two. Every two seconds one query for
the latest seqs of all subscribed jobs recovers from any message that the broker lost, including the
last event of a job.
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
from realtime.metrics import EVENT_LATENCY
from realtime.protocol import Close
from realtime.transport import ALL_JOBS, job_group, register_local_layer

BUFFER_SIZE = 512
PAGE_SIZE = 200
RESYNC_SECONDS = 2.0
# Access to jobs is checked every so many resync rounds: the query is slow with many
# subscriptions.
ACCESS_CHECK_ROUNDS = 3
# A resync looks back this much further than the previous one: clocks differ, commits take time.
OVERLAP = timedelta(seconds=30)

log = logging.getLogger(__name__)


class JobEventBuffer:
    """A job's latest seq and a ring buffer of its newest frames without gaps."""

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        self.latest_seq = 0
        self.ephemeral: bytes | None = None
        self.ephemeral_count = 0
        self.subscribers: set[asyncio.Event] = set()
        self.ready = asyncio.Event()
        self._frames: deque[Frame] = deque(maxlen=BUFFER_SIZE)

    def wake_subscribers(self) -> None:
        for wakeup in self.subscribers:
            wakeup.set()

    def put(self, frame: Frame) -> None:
        """Append a new frame; after a gap the ring buffer restarts at this frame."""
        if self._frames and frame.seq <= self._frames[-1].seq:
            return
        if self._frames and frame.seq != self._frames[-1].seq + 1:
            self._frames.clear()
        self._frames.append(frame)
        self.advance_to(frame.seq)

    def advance_to(self, seq: int) -> None:
        if seq > self.latest_seq:
            self.latest_seq = seq
            self.wake_subscribers()

    def put_ephemeral(self, body: bytes) -> None:
        self.ephemeral, self.ephemeral_count = body, self.ephemeral_count + 1
        self.wake_subscribers()

    def after(self, seq: int) -> list[Frame] | None:
        """At most a page of frames after `seq`; None where they have to be read from the rows."""
        if seq >= self.latest_seq:
            return []
        if not self._frames or seq + 1 < self._frames[0].seq or seq >= self._frames[-1].seq:
            return None
        start = seq + 1 - self._frames[0].seq
        return list(islice(self._frames, start, start + PAGE_SIZE))


class Hub:
    """Shares the buffers between all subscriptions of one event loop."""

    def __init__(self, store: EventStore, layer: BaseChannelLayer) -> None:
        self.store = store
        self._layer = layer
        self._buffers: dict[UUID, JobEventBuffer] = {}
        self._all_jobs_callbacks: set[Callable[[UUID], None]] = set()
        self._channel = ""
        self._started: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._resync_requested = asyncio.Event()
        self._resynced_at = datetime.now(UTC)

    async def subscribe(self, job_id: UUID, wakeup: asyncio.Event) -> JobEventBuffer:
        """Set `wakeup` whenever the job's buffer changes; the buffer is up to date on return."""
        await self._start()
        buffer = self._buffers.get(job_id)
        if buffer is not None:
            buffer.subscribers.add(wakeup)
            await buffer.ready.wait()
            return buffer
        buffer = self._buffers[job_id] = JobEventBuffer(job_id)
        buffer.subscribers.add(wakeup)
        try:
            await self._layer.group_add(job_group(job_id), self._channel)
            buffer.advance_to((await self._latest_seqs([job_id])).get(job_id, 0))
        finally:
            buffer.ready.set()
        return buffer

    async def unsubscribe(self, job_id: UUID, wakeup: asyncio.Event) -> None:
        buffer = self._buffers.get(job_id)
        if buffer is None:
            return
        buffer.subscribers.discard(wakeup)
        if not buffer.subscribers:
            del self._buffers[job_id]
            await self._layer.group_discard(job_group(job_id), self._channel)

    async def subscribe_all(self, on_change: Callable[[UUID], None]) -> None:
        """Call `on_change` with the id of each job that has a new event."""
        await self._start()
        self._all_jobs_callbacks.add(on_change)
        if len(self._all_jobs_callbacks) == 1:
            await self._layer.group_add(ALL_JOBS, self._channel)

    async def unsubscribe_all(self, on_change: Callable[[UUID], None]) -> None:
        self._all_jobs_callbacks.discard(on_change)
        if not self._all_jobs_callbacks:
            await self._layer.group_discard(ALL_JOBS, self._channel)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def frames(self, buffer: JobEventBuffer, after: int) -> list[Frame]:
        """The next page after seq `after`, from the buffer or else from the rows."""
        while (page := buffer.after(after)) is None:
            try:
                return list(await _in_thread(self.store.frames, buffer.job_id, after, PAGE_SIZE))
            except Exception as error:
                # The database is unavailable: keep the connection open and retry.
                log.info("Could not read the events of job %s: %r", buffer.job_id, error)
                await asyncio.sleep(RESYNC_SECONDS)
        return page

    async def _latest_seqs(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        seqs: dict[UUID, int] = await _in_thread(self.store.latest_seqs, job_ids)
        return seqs

    async def _start(self) -> None:
        if self._started is None:
            self._started = asyncio.ensure_future(self._open())
        await asyncio.shield(self._started)

    async def _open(self) -> None:
        self._channel = await self._layer.new_channel()
        for run in (self._listen, self._resync, self._check_connections):
            self._tasks.append(asyncio.ensure_future(_restart_on_error(run)))

    async def _listen(self) -> None:
        while True:
            message: dict[str, Any] = await self._layer.receive(self._channel)
            if message["type"] == "frame":
                self._dispatch(message["body"])
            else:
                self._resync_requested.set()

    def _dispatch(self, body: bytes) -> None:
        frame = orjson.loads(body)
        if "timestamp" in frame:
            occurred_at = datetime.fromisoformat(frame["timestamp"])
            EVENT_LATENCY.observe(max(0.0, (datetime.now(UTC) - occurred_at).total_seconds()))
        job_id, seq = UUID(frame["data"]["job_id"]), frame.get("seq")
        for on_change in list(self._all_jobs_callbacks):
            on_change(job_id)
        buffer = self._buffers.get(job_id)
        if buffer is None:
            return
        if seq is None:
            buffer.put_ephemeral(body)
        else:
            buffer.put(Frame(job_id, seq, "", body))

    async def _resync(self) -> None:
        """Read the latest seqs periodically, and whenever the channel layer has reconnected."""
        while True:
            try:
                async with asyncio.timeout(RESYNC_SECONDS):
                    await self._resync_requested.wait()
            except TimeoutError:
                pass
            self._resync_requested.clear()
            if self._all_jobs_callbacks:
                since, self._resynced_at = self._resynced_at - OVERLAP, datetime.now(UTC)
                for job_id in await _in_thread(self.store.latest_seqs_since, since):
                    for on_change in list(self._all_jobs_callbacks):
                        on_change(job_id)
            if self._buffers:
                for job_id, seq in (await self._latest_seqs(list(self._buffers))).items():
                    if job_id in self._buffers:
                        self._buffers[job_id].advance_to(seq)

    async def _check_connections(self) -> None:
        """Close connections whose token or session was revoked, or whose job is hidden by now."""
        for round_number in count(1):
            await asyncio.sleep(RESYNC_SECONDS)
            if opened := connections.open_connections():
                await self._check_credentials(opened)
                if round_number % ACCESS_CHECK_ROUNDS == 0:
                    await self._check_access(opened)

    async def _check_credentials(self, opened: Collection[Connection]) -> None:
        credentials = {connection.credential for connection in opened}
        valid = await _in_thread(self.store.valid_credentials, credentials)
        for connection in opened:
            if connection.credential not in valid:
                connection.close(Close.NOT_AUTHENTICATED)

    async def _check_access(self, opened: Collection[Connection]) -> None:
        subscriptions = [
            (connection.credential.user_id, list(connection.subscribed_jobs()))
            for connection in opened
        ]
        revoked = await _in_thread(self.store.revoked_access, subscriptions)
        for connection in opened if revoked else ():
            user_id = connection.credential.user_id
            if any((user_id, job_id) in revoked for job_id in connection.subscribed_jobs()):
                # A client that reconnects gets the jobs that are still visible to it.
                connection.close(Close.SERVICE_RESTART)


async def _restart_on_error(run: Callable[[], Any]) -> None:
    """Run `run` forever; log repeated identical exceptions only once."""
    last_error = ""
    while True:
        try:
            await run()
        except Exception as error:
            if repr(error) != last_error:
                log.exception("A task of the event hub failed; restarting it.")
            last_error = repr(error)
            await asyncio.sleep(RESYNC_SECONDS)


async def _in_thread(call: Callable[..., Any], *args: Any) -> Any:
    # Not in Django's single thread for synchronous views, which may be busy with a request.
    return await database_sync_to_async(call, thread_sensitive=False)(*args)


def hub_per_event_loop(store: EventStore) -> Callable[[], Hub]:
    """Return a function that returns the hub of the running event loop."""
    hubs: dict[asyncio.AbstractEventLoop, Hub] = {}

    def get_hub() -> Hub:
        loop = asyncio.get_running_loop()
        if loop not in hubs:
            # A layer of its own: the registry's layer may belong to another event loop.
            layer = channel_layers.make_backend("default")
            if settings.EMBEDDED:
                register_local_layer(layer)
            hubs[loop] = Hub(store, layer)
        return hubs[loop]

    return get_hub
