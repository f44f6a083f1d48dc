"""Heartbeats in threads that do nothing else, so that overload is not mistaken for death."""

from __future__ import annotations

import contextlib
import logging
from types import TracebackType
from typing import Self

from django.conf import settings

from realtime.outage_log import OutageLog
from training.jobs import attempts
from training.jobs.attempts import Attempt
from training.periodic_thread import PeriodicThread
from training.request_thread import release_database
from training.workers import registry as workers

log = logging.getLogger(__name__)


class HeartbeatThread(PeriodicThread):
    """Registers a worker, and sends several heartbeats in each lease until it is stopped."""

    def __init__(self, worker: str, slots: int) -> None:
        outage = OutageLog(
            log,
            failure="Cannot send the heartbeat of this worker; retrying: %s",
            recovery="The heartbeat of this worker is sent again.",
        )
        super().__init__("heartbeat", outage)
        self._worker, self._slots = worker, slots
        self._report = workers.register

    def interval(self) -> float:
        return min(float(settings.MAINTENANCE_SECONDS), settings.LEASE_SECONDS / 4)

    def run_once(self) -> None:
        self._report(self._worker, self._slots, settings.WORKER_HAS)
        self._report = workers.heartbeat

    def at_exit(self) -> None:
        # If the database is unreachable, the worker is later detected as lost.
        with contextlib.suppress(Exception):
            workers.deregister(self._worker)
        super().at_exit()


class LeaseThread(PeriodicThread):
    """Extends the lease of a running attempt while its supervisor works, or waits for a disk."""

    def __init__(self, attempt: Attempt) -> None:
        outage = OutageLog(
            log,
            failure=f"Cannot extend the lease of job {attempt.job_id}; retrying: %s",
            recovery=f"The lease of job {attempt.job_id} is extended again.",
        )
        super().__init__("lease", outage)
        self._attempt = attempt

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def interval(self) -> float:
        return settings.LEASE_SECONDS / 4

    def run_once(self) -> None:
        try:
            if not attempts.extend_lease(self._attempt):
                self._stop_requested.set()
        finally:
            # Hundreds of running jobs need no connection between two heartbeats.
            release_database()
