"""The outbox's thread: stored events go to the broker in order, and nobody waits for it."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from dataclasses import dataclass
from uuid import UUID

from realtime.interfaces import Frame, Outbox
from realtime.transport import Transport

# Longer than one try takes; so long a sender that was killed holds up a job's events.
CLAIM_SECONDS = 8.0
DRAIN_SECONDS = 15.0
RETRIES = 3
FIRST_PAUSE_SECONDS = 0.1
PAGE = 200
MAX_EPHEMERAL = 100
RETRY_SECONDS = 0.05
MAX_RETRIES = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Notify:
    job_id: UUID
    again: int = 0


@dataclass(frozen=True, slots=True)
class _Ephemeral:
    routing_key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Scan: ...


@dataclass(frozen=True, slots=True)
class _Stop: ...


_Item = _Notify | _Ephemeral | _Scan | _Stop


class Publisher:
    """One thread of this process; it starts with the first event, and again after a fork."""

    def __init__(self, outbox: Outbox, transport: Transport) -> None:
        self._outbox, self._transport = outbox, transport
        self._lock = threading.Lock()
        self._pid = 0
        self._well = True

    def nudge(self, job_id: UUID) -> None:
        """The job has new events; never waits."""
        self._put(_Notify(job_id))

    def send_fleeting(self, routing_key: str, body: bytes) -> None:
        """Send what is not kept; dropped where the broker is slow."""
        if not self._running() or self._items.qsize() < MAX_EPHEMERAL:
            self._put(_Ephemeral(routing_key, body))

    def sweep(self) -> None:
        """Look for what anyone left unsent."""
        self._put(_Scan())

    def stop(self, timeout: float) -> None:
        """Send what waits, for at most `timeout` seconds; the rest stays in the outbox."""
        if self._running():
            self._put(_Stop())
            self._thread.join(timeout)

    def _running(self) -> bool:
        return self._pid == os.getpid() and self._thread.is_alive()

    def _put(self, item: _Item) -> None:
        if not self._running():
            self._start()
        # What waits already needs no second word: a broker that is away would pile them up.
        if item not in self._waiting:
            self._waiting.add(item)
            self._items.put(item)

    def _put_again(self, item: _Item) -> None:
        """From a timer: a publisher that was stopped meanwhile stays stopped."""
        if self._running():
            self._put(item)

    def _start(self) -> None:
        # A fork copies neither thread nor a usable connection: begin anew in each process.
        if self._pid != os.getpid():
            self._lock = threading.Lock()
        with self._lock:
            if self._running():
                return
            self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
            self._waiting: set[_Item] = set()
            self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
            self._pid = os.getpid()
            self._thread.start()

    def _run(self) -> None:
        while True:
            item = self._items.get()
            self._waiting.discard(item)
            if isinstance(item, _Stop):
                self._transport.close()
                return
            try:
                self._handle(item)
            except Exception as error:
                # Broker or database: the rows wait, and the next sweep finds them.
                if self._well:
                    log.warning("Events wait in the outbox: %s", error)
                self._well = False
            else:
                if not isinstance(item, _Scan) and not self._well:
                    log.warning("Events are sent again.")
                    self._well = True

    def _handle(self, item: _Item) -> None:
        match item:
            case _Ephemeral(routing_key, body):
                if self._well:
                    self._transport.send(routing_key, body)
            case _Scan():
                for job_id in self._outbox.waiting(limit=PAGE):
                    self._drain(job_id)
            case _Notify(job_id, again):
                if not self._drain(job_id) and again < MAX_RETRIES:
                    # Another process sends this job just now, and may have looked too early.
                    later = threading.Timer(
                        RETRY_SECONDS, self._put_again, [_Notify(job_id, again + 1)]
                    )
                    later.daemon = True
                    later.start()

    def _drain(self, job_id: UUID) -> bool:
        """Send all that is unsent; False where someone else does, or nothing is."""
        if not self._outbox.claim(job_id, CLAIM_SECONDS):
            return False
        sent: int | None = None
        until = time.monotonic() + DRAIN_SECONDS
        try:
            while True:
                frames = self._outbox.unsent(job_id, sent, PAGE)
                for frame in frames:
                    self._send(frame)
                    sent = frame.seq
                # What comes after this look has a nudge of its own.
                if len(frames) < PAGE or time.monotonic() >= until:
                    break
                self._outbox.renew(job_id, CLAIM_SECONDS)
        finally:
            self._outbox.settle(job_id, sent)
        return True

    def _send(self, frame: Frame) -> None:
        """Try once and three times more, each after twice the pause; then raise the last fault."""
        for attempt in range(RETRIES):
            try:
                return self._transport.send(frame.routing_key, frame.body)
            except Exception:
                time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
                self._outbox.renew(frame.job_id, CLAIM_SECONDS)
        return self._transport.send(frame.routing_key, frame.body)
