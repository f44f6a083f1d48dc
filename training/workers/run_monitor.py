"""Monitors a running training for its supervisor: its output and its resource use."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

from django.conf import settings
from django.db import DatabaseError

from realtime import events
from training.events import publisher
from training.jobs import logs
from training.jobs.attempts import Attempt
from training.jobs.logs import AttemptLog
from training.jobs.system_figures import Sample, SampleStore
from training.workers.log_limit import LogLimit
from training.workers.memory_guard import MemoryGuard, job_limit
from training.workers.memory_limit import MemoryLimit
from training.workers.system_sampler import SystemSampler

# New output is announced this often, at most.
TICK_SECONDS = 0.1
MAX_TEXT_BYTES = 16_000
SAMPLE_SECONDS = 5.0
FIRST_SAMPLE_SECONDS = 1.0
MAX_UNSTORED = 720  # an hour without the database

log = logging.getLogger(__name__)


class RunMonitor:
    """A thread that runs as long as the training. Its failures never affect the training."""

    def __init__(self, attempt: Attempt, pid: int, output: AttemptLog) -> None:
        self._attempt, self._output = attempt, output
        self._limit = LogLimit(output)
        self._memory = MemoryLimit(pid)
        self._guard = MemoryGuard(pid, job_limit(settings.TRAINER_MEMORY, self._memory.bytes()))
        self._sampler = SystemSampler(pid, self._memory)
        self._samples: deque[Sample] = deque(maxlen=MAX_UNSTORED)
        self._newest: Sample | None = None
        self._store = SampleStore(attempt.job_id, attempt.number)
        self._next_sample = time.monotonic() + FIRST_SAMPLE_SECONDS
        self._announced = output.size()
        self._stop = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="run-monitor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._guarded_tick(final=True)
        self.store_samples()

    def store_samples(self) -> None:
        """Called by the supervisor, which has the connection to the database."""
        samples = [self._samples.popleft() for _ in range(len(self._samples))]
        try:
            self._store.add(samples)
        except DatabaseError as error:
            # The job was deleted, or the database is unavailable: only these samples are lost.
            log.info(
                "Could not store the resource metrics of job %s: %s", self._attempt.job_id, error
            )

    def out_of_memory(self) -> str:
        """What is known about an out-of-memory kill; empty if there was none."""
        if not self._memory.killed():
            return ""
        limit = f"the limit is {self._memory.bytes() / 1e9:.2f} GB"
        if self._newest is None:
            return f"out of memory; {limit}"
        return f"out of memory: {self._newest.memory / 1e9:.2f} GB in use before it, {limit}"

    def over_limit(self) -> str:
        """What is known about a training that was ended for using too much memory; else empty."""
        if not self._guard.exceeded_by:
            return ""
        return (
            f"The training was ended because it used {self._guard.exceeded_by / 1e9:.2f} GB of "
            f"memory, and a job may use {self._guard.limit / 1e9:.2f} GB on this worker "
            "(HEIMDALL_TRAINER_MEMORY). Use smaller batches, a smaller model or fewer processes."
        )

    def _run(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            self._guard.enforce()
            self._guarded_tick()

    def _guarded_tick(self, *, final: bool = False) -> None:
        try:
            self._tick(final=final)
        except Exception:
            if not self._failed:
                log.exception("Cannot watch the training of job %s.", self._attempt.job_id)
            self._failed = True

    def _tick(self, *, final: bool) -> None:
        size = self._output.size()
        self._limit.enforce(size)
        if size > self._announced:
            self._announce(size, final=final)
        if time.monotonic() >= self._next_sample and not final:
            self._next_sample = time.monotonic() + SAMPLE_SECONDS
            self._sample()

    def _sample(self) -> None:
        if figures := self._sampler.sample():
            self._newest = Sample(time.time(), figures)
            self._samples.append(self._newest)

    def _announce(self, size: int, *, final: bool) -> None:
        """Send the newest output; what is left out is in the log."""
        start = self._announced
        if size - start > MAX_TEXT_BYTES:
            piece = self._output.tail(MAX_TEXT_BYTES)
        else:
            piece = self._output.read(start, size - start)
        text, consumed = logs.decode(piece.data, final=final)
        if not text:
            return
        self._announced = piece.start + consumed
        publisher.send_ephemeral(
            events.Log(
                job_id=self._attempt.job_id,
                attempt=self._attempt.number,
                after=piece.start,
                text=text,
            )
        )
