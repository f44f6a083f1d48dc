"""The jobs that clients of this process subscribe to, each with a buffer of its newest frames.

A subscriber holds nothing but a cursor. A buffer joins the job's group first and reads the latest
seq from the database afterward, so no event falls between the two. Every two seconds one query for
the latest seqs of all subscribed jobs recovers from any message that the broker lost, including the
last event of a job.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol
from uuid import UUID

from channels.db import database_sync_to_async
from channels.layers import BaseChannelLayer, channel_layers
from django.conf import settings

from realtime import connections
from realtime.connections import Connection
from realtime.event_buffer import BUFFER_SIZE, PAGE_SIZE, JobEventBuffer, Subscriber
from realtime.events import InvalidMessageError, decode
from realtime.fan_out import FanOut
from realtime.group_queues import Message
from realtime.interfaces import EventStore, Frame
from realtime.metrics import EVENT_LATENCY, IGNORED_MESSAGES
from realtime.protocol import Close
from realtime.shared_calls import SharedCalls
from realtime.transport import ALL_JOBS, job_group, register_local_layer

RESYNC_SECONDS = 2.0
# The minimum pause between two resyncs.
RESYNC_PAUSE_SECONDS = 0.1
# Access to jobs is checked every so many resync rounds: the query is slow with many
# subscriptions.
ACCESS_CHECK_ROUNDS = 3
# A resync looks back this much further than the previous one, because commits take time.
OVERLAP_SECONDS = 30.0

log = logging.getLogger(__name__)


class AllJobsListener(Protocol):
    """A subscription to all jobs; called in the event loop, and must not raise."""

    def job_changed(self, job_id: UUID, seq: int | None) -> None:
        """The job has an event of this seq, or an ephemeral one."""
        ...

    def resynced(self) -> None:
        """Called every few seconds."""
        ...


class Hub:
    """Shares the buffers between all subscriptions of one event loop."""

    def __init__(self, store: EventStore, layer: BaseChannelLayer) -> None:
        self.store = store
        self.shared_calls = SharedCalls()
        self._layer = layer
        self._buffers: dict[UUID, JobEventBuffer] = {}
        self._fan_out = FanOut()
        self._all_jobs_listeners: set[AllJobsListener] = set()
        self._last_body = b""
        self._channel = ""
        self._started: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._resync_requested = asyncio.Event()
        self._resynced_at = time.monotonic()
        self._event_counter = 0

    async def subscribe(self, job_id: UUID, subscriber: Subscriber) -> JobEventBuffer:
        """Tell the subscriber of changes of the job's buffer, which is up to date on return."""
        await self._start()
        buffer = self._buffer(job_id)
        buffer.subscribers.add(subscriber)
        try:
            async with buffer.lock:
                if not buffer.live:
                    buffer.joined = True
                    await self._layer.group_add(job_group(job_id), self._channel)
                    await self._read_latest_seq(buffer)
                    buffer.live = True
        except BaseException:
            # After a failure the caller does not unsubscribe. The next subscriber reads the seq
            # again.
            await self._remove_subscriber(buffer, subscriber)
            raise
        return buffer

    def attach(self, job_id: UUID, latest_seq: int, subscriber: Subscriber) -> JobEventBuffer:
        """Subscribe a subscription to all jobs, which has read the latest seq itself."""
        buffer = self._buffer(job_id)
        buffer.subscribers.add(subscriber)
        buffer.advance_to(latest_seq)
        return buffer

    def _buffer(self, job_id: UUID) -> JobEventBuffer:
        if (buffer := self._buffers.get(job_id)) is None:
            buffer = self._buffers[job_id] = JobEventBuffer(job_id, self._fan_out.add)
        return buffer

    async def unsubscribe(self, job_id: UUID, subscriber: Subscriber) -> None:
        if (buffer := self._buffers.get(job_id)) is not None:
            await self._remove_subscriber(buffer, subscriber)

    async def _remove_subscriber(self, buffer: JobEventBuffer, subscriber: Subscriber) -> None:
        buffer.subscribers.discard(subscriber)
        if not buffer.subscribers and self._buffers.get(buffer.job_id) is buffer:
            del self._buffers[buffer.job_id]
            if buffer.joined:
                await self._layer.group_discard(job_group(buffer.job_id), self._channel)

    async def subscribe_all(self, listener: AllJobsListener) -> None:
        await self._start()
        self._all_jobs_listeners.add(listener)
        # Once per listener: an earlier call may still be pending, or may have failed.
        await self._layer.group_add(ALL_JOBS, self._channel)

    async def unsubscribe_all(self, listener: AllJobsListener) -> None:
        self._all_jobs_listeners.discard(listener)
        if not self._all_jobs_listeners:
            await self._layer.group_discard(ALL_JOBS, self._channel)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def frames(self, buffer: JobEventBuffer, after: int) -> list[Frame]:
        while (page := buffer.after(after)) is None:
            try:
                # If many clients reconnect with the same cursor, one reads the rows.
                async with buffer.reading:
                    if buffer.after(after) is None:
                        return await self._read_frames(buffer, after)
            except Exception as error:
                # The database is unavailable: keep the connection open and retry.
                log.info("Could not read the events of job %s: %r", buffer.job_id, error)
                await asyncio.sleep(RESYNC_SECONDS)
        return page

    async def _read_frames(self, buffer: JobEventBuffer, after: int) -> list[Frame]:
        stored = list(await _in_thread(self.store.frames, buffer.job_id, after, PAGE_SIZE))
        if len(buffer.subscribers) > 1:
            buffer.put_older(stored)
        return stored

    async def has_seq(self, buffer: JobEventBuffer, seq: int) -> bool:
        """Whether the database has the event, which this process may not have received yet."""
        return await self._read_latest_seq(buffer) >= seq

    async def _read_latest_seq(self, buffer: JobEventBuffer) -> int:
        job_ids = (buffer.job_id,)
        found = await self.shared_calls.run(self.store.latest_seqs, job_ids)
        latest_seq = found.get(buffer.job_id, 0)
        buffer.advance_to(latest_seq)
        return latest_seq

    async def _latest_seqs(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        seqs: dict[UUID, int] = await _in_thread(self.store.latest_seqs, job_ids)
        return seqs

    async def _start(self) -> None:
        if self._started is None:
            self._started = asyncio.ensure_future(self._open())
        await asyncio.shield(self._started)

    async def _open(self) -> None:
        self._channel = await self._layer.new_channel()
        for run in (self._listen, self._fan_out.run, self._resync, self._check_connections):
            self._tasks.append(asyncio.ensure_future(_restart_on_error(run)))

    async def _listen(self) -> None:
        while True:
            message: Message = await self._layer.receive(self._channel)
            if message["type"] != "frame":
                self._resync_requested.set()
                continue
            try:
                self._dispatch(message["body"])
            except InvalidMessageError as error:
                IGNORED_MESSAGES.inc()
                log.warning("Ignored a message that is not an event of a job: %s", error)

    def _dispatch(self, body: bytes) -> None:
        if body == self._last_body:
            return  # it came to the group of its job, and to the group of all jobs
        self._last_body = body
        received = decode(body)
        if received.at is not None:
            latency = (datetime.now(UTC) - received.at).total_seconds()
            EVENT_LATENCY.observe(max(0.0, latency))
        job_id, seq = received.job_id, received.seq
        for listener in list(self._all_jobs_listeners):
            listener.job_changed(job_id, seq)
        buffer = self._buffers.get(job_id)
        if buffer is None:
            return
        if seq is None:
            buffer.put_ephemeral(received.event, body)
        elif seq > buffer.latest_seq + BUFFER_SIZE:
            # Either many messages were lost, or this one is wrong: read the seq from the database.
            self._resync_requested.set()
        else:
            buffer.put(Frame(job_id, seq, "", body))

    async def _resync(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RESYNC_SECONDS):
                    await self._resync_requested.wait()
            except TimeoutError:
                pass
            self._resync_requested.clear()
            await self._detect_restore()
            if self._all_jobs_listeners:
                now = time.monotonic()
                seconds = now - self._resynced_at + OVERLAP_SECONDS
                changed = await _in_thread(self.store.latest_seqs_since, seconds)
                self._resynced_at = now
                for listener in list(self._all_jobs_listeners):
                    for job_id, seq in changed.items():
                        listener.job_changed(job_id, seq)
                    listener.resynced()
            if self._buffers:
                known = {job_id: buffer.latest_seq for job_id, buffer in self._buffers.items()}
                for job_id, seq in (await self._latest_seqs(known)).items():
                    if seq < known[job_id]:
                        self._disconnect_all()
                        break
                    if job_id in self._buffers:
                        self._buffers[job_id].advance_to(seq)
            await asyncio.sleep(RESYNC_PAUSE_SECONDS)

    async def _detect_restore(self) -> None:
        counter = await _in_thread(self.store.event_counter)
        if counter < self._event_counter:
            self._disconnect_all()
        self._event_counter = counter

    def _disconnect_all(self) -> None:
        """Reset after a restore from a backup: clients have events that no longer exist.

        They reconnect, and their cursors are compared with what the database has now.
        """
        log.warning("The database has fewer events than before. All clients have to reconnect.")
        self._buffers.clear()
        for connection in connections.open_connections():
            connection.close(Close.SERVICE_RESTART)

    async def _check_connections(self) -> None:
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
            (connection.credential.viewer, list(connection.subscribed_jobs()))
            for connection in opened
        ]
        revoked = await _in_thread(self.store.revoked_access, subscriptions)
        if not revoked:
            return
        # A user who was deactivated since the last check sees no jobs either, and must sign in.
        await self._check_credentials(opened)
        for connection in opened:
            viewer = connection.credential.viewer
            if any((viewer, job_id) in revoked for job_id in connection.subscribed_jobs()):
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
