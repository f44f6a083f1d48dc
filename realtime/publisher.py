"""A thread that sends stored events from the outbox to the broker, in order."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from dataclasses import dataclass
from uuid import UUID

from realtime.interfaces import Frame, Outbox
from realtime.outage_log import OutageLog
from realtime.transport import MessageRefusedError, Transport

# Longer than one attempt takes. A killed process blocks a job's events for this long.
CLAIM_SECONDS = 8.0
DRAIN_SECONDS = 15.0
SEND_RETRIES = 3
FIRST_RETRY_DELAY_SECONDS = 0.1
PAGE_SIZE = 200
# After two jobs that cannot be sent, broker or database are considered unavailable.
MAX_FAILED_JOBS = 2
MAX_EPHEMERAL = 100
CLAIM_RETRIES = 3
CLAIM_RETRY_SECONDS = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Notify:
    job_id: UUID
    retries: int = 0


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
    """One thread per process, started by the first event and restarted after a fork."""

    def __init__(self, outbox: Outbox, transport: Transport) -> None:
        self._outbox, self._transport = outbox, transport
        self._lock = threading.Lock()
        self._pid = 0
        # The pending jobs that could not be sent by the last scans; the next ones try them last.
        self._failed_jobs: set[UUID] = set()
        self._outage = OutageLog(
            log,
            failure="Publishing failed; events stay in the outbox: %s",
            recovery="Publishing works again.",
        )

    def notify(self, job_id: UUID) -> None:
        """Send the job's new events soon; never blocks."""
        self._put(_Notify(job_id))

    def send_ephemeral(self, routing_key: str, body: bytes) -> None:
        """Send a message that is not stored; it is dropped where the broker is slow."""
        if not self._is_running() or self._items.qsize() < MAX_EPHEMERAL:
            self._put(_Ephemeral(routing_key, body))

    def scan(self) -> None:
        self._put(_Scan())

    def stop(self, timeout: float) -> None:
        """Send what is queued, for at most `timeout` seconds; the rest stays in the outbox."""
        if self._is_running():
            self._put(_Stop())
            self._thread.join(timeout)

    def _is_running(self) -> bool:
        return self._pid == os.getpid() and self._thread.is_alive()

    def _put(self, item: _Item) -> None:
        if not self._is_running():
            self._start()
        # An item that is queued already is not queued again, so an outage does not pile them up.
        if item not in self._queued:
            self._queued.add(item)
            self._items.put(item)

    def _put_if_running(self, item: _Item) -> None:
        # Called by a timer, which must not restart a stopped publisher.
        if self._is_running():
            self._put(item)

    def _start(self) -> None:
        # A fork copies neither the thread nor a usable lock: each process starts its own.
        if self._pid != os.getpid():
            self._lock = threading.Lock()
        with self._lock:
            if self._is_running():
                return
            self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
            self._queued: set[_Item] = set()
            self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
            self._pid = os.getpid()
            self._thread.start()

    def _run(self) -> None:
        while True:
            item = self._items.get()
            self._queued.discard(item)
            if isinstance(item, _Stop):
                self._transport.close()
                return
            try:
                self._handle(item)
            except Exception as error:
                # Broker or database unavailable: the rows stay, and the next scan finds them.
                self._outage.record_failure(error)
            else:
                # A scan may find nothing, and an outage drops ephemeral messages: neither of them
                # proves that the broker is back.
                if isinstance(item, _Notify):
                    self._outage.record_success()

    def _handle(self, item: _Item) -> None:
        match item:
            case _Ephemeral(routing_key, body):
                if not self._outage.ongoing:
                    self._transport.send(routing_key, body)
            case _Scan():
                self._drain_pending()
            case _Notify(job_id, retries):
                if not self._drain(job_id) and retries < CLAIM_RETRIES:
                    # Another process holds the claim and may have read the rows too early.
                    retry = _Notify(job_id, retries + 1)
                    timer = threading.Timer(CLAIM_RETRY_SECONDS, self._put_if_running, [retry])
                    timer.daemon = True
                    timer.start()

    def _drain_pending(self) -> None:
        """Send each job separately: one that cannot be sent does not delay the others."""
        pending = self._outbox.pending_jobs(limit=PAGE_SIZE)
        self._failed_jobs.intersection_update(pending)
        errors: list[Exception] = []
        sent = False
        for job_id in sorted(pending, key=self._failed_jobs.__contains__):
            try:
                sent = self._drain(job_id) or sent
            except Exception as error:
                errors.append(error)
                if sent and job_id not in self._failed_jobs:
                    log.exception("Cannot send the events of job %s; retrying.", job_id)
                self._failed_jobs.add(job_id)
                if len(errors) >= MAX_FAILED_JOBS:
                    break
            else:
                self._failed_jobs.discard(job_id)
        if errors and not sent:
            raise errors[0]

    def _drain(self, job_id: UUID) -> bool:
        """Send all unsent events; False if another process holds the claim or none are unsent."""
        if not self._outbox.claim(job_id, CLAIM_SECONDS):
            return False
        sent_seq: int | None = None
        deadline = time.monotonic() + DRAIN_SECONDS
        try:
            while True:
                frames = self._outbox.unsent(job_id, sent_seq, PAGE_SIZE)
                for frame in frames:
                    self._send(frame)
                    sent_seq = frame.seq
                # Events stored after this read have a notification of their own.
                if len(frames) < PAGE_SIZE or time.monotonic() >= deadline:
                    break
                self._outbox.renew(job_id, CLAIM_SECONDS)
        finally:
            self._outbox.release(job_id, sent_seq)
        return True

    def _send(self, frame: Frame) -> None:
        """Send with three retries and exponential backoff; then raise the last error.

        Not tenacity, whose wrapper would cost every event 20 µs (ADR 28).
        """
        for retry in range(SEND_RETRIES):
            try:
                return self._transport.send(frame.routing_key, frame.body)
            except MessageRefusedError as error:
                # Clients read it from the database.
                log.error("Skipped event %s of job %s: %s", frame.seq, frame.job_id, error)
                return None
            except Exception:
                time.sleep(FIRST_RETRY_DELAY_SECONDS * 2**retry)
                self._outbox.renew(frame.job_id, CLAIM_SECONDS)
        return self._transport.send(frame.routing_key, frame.body)
