"""Periodic maintenance: repairs the effects of lost messages and killed processes.

Any number of threads may run it: each step is a compare-and-set, so repeating it changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from realtime.outage_log import OutageLog
from training.events import publisher
from training.jobs import queue, reports, results
from training.jobs.attempts import Attempt, SupersededError
from training.models import Job
from training.models.states import Status
from training.periodic_thread import PeriodicThread
from training.retention.thread import RetentionThread
from training.sweeps import scheduler
from training.webhooks.delivery import DeliveryThread
from training.workers import claims
from training.workers import registry as workers
from training.workers.heartbeat import HeartbeatThread

# A queued job that was not claimed for this long is enqueued again.
REENQUEUE_SECONDS = 5
# The work whose extent depends on what users have created: one worker at a time does it.
SCHEDULING = "scheduling"

log = logging.getLogger(__name__)


class MaintenanceThread(PeriodicThread):
    """Runs maintenance every `MAINTENANCE_SECONDS` in a worker."""

    def __init__(self, worker: str, slots: int) -> None:
        outage = OutageLog(
            log,
            failure="A maintenance pass failed; retrying: %s",
            recovery="Maintenance works again.",
            traceback=True,
        )
        super().__init__("maintenance", outage)
        self.worker = worker
        self._holder = f"{worker} {uuid4().hex}"  # names of workers need not be unique
        self._heartbeat = HeartbeatThread(worker, slots)
        self._deliveries = DeliveryThread()
        self._retention = RetentionThread()
        self._leases_count_from = time.monotonic()
        # The web processes may have been away as long as this one.
        self._silence_counts_from = time.monotonic() + settings.REPORT_SILENCE_SECONDS

    def start(self) -> None:
        self._heartbeat.start()
        super().start()
        self._deliveries.start()
        self._retention.start()

    def stop(self, timeout: float = 5.0) -> None:
        super().stop(timeout)
        self._deliveries.stop()
        self._retention.stop()
        self._heartbeat.stop()

    def interval(self) -> float:
        return float(settings.MAINTENANCE_SECONDS)

    def run_once(self) -> None:
        if self._outage.ongoing:
            # No worker could extend its lease while the database was unreachable: wait for a full
            # lease before any lease counts as expired.
            self._leases_count_from = time.monotonic() + settings.LEASE_SECONDS
            self._silence_counts_from = time.monotonic() + settings.REPORT_SILENCE_SECONDS
        if time.monotonic() >= self._leases_count_from:
            expired = Q(lease_expires_at__lt=Now())
            requeue_expired(
                self.worker,
                expired,
                "worker_lost",
                "No heartbeat from the worker; it may be overloaded or offline.",
            )
        if time.monotonic() >= self._silence_counts_from:
            reports.end_silent(self.worker)
        publisher.get_publisher().scan()
        if claims.acquire(SCHEDULING, self._holder, settings.LEASE_SECONDS):
            workers.delete_old()
            reenqueue_stale()
            # Ends well before the claim expires; the next pass continues.
            scheduler.run_once(settings.LEASE_SECONDS / 4)

    def at_exit(self) -> None:
        # If the database is unreachable, the claim expires.
        with contextlib.suppress(Exception):
            claims.release(SCHEDULING, self._holder)
        super().at_exit()


def requeue_expired(actor: str, whose: Q, cause: results.Interruption, reason: str) -> None:
    running = Job.objects.filter(whose, status=Status.RUNNING, reported=False).order_by("pk")
    for pk, number in running.values_list("pk", "attempt"):
        # Another thread may have been first, or the worker has sent a heartbeat since.
        with contextlib.suppress(SupersededError):
            results.requeue_or_fail(Attempt(pk, number), actor, cause, reason, when=whose)


def reenqueue_stale() -> None:
    """Announce at most as many jobs of each need as there are slots for it.

    Further messages would only wait, without end if no worker has a GPU.
    """
    stale = Q(enqueued_at__lt=Now() - timedelta(seconds=REENQUEUE_SECONDS))
    waiting = Job.objects.filter(stale, status=Status.QUEUED, reported=False)
    for need, slots in workers.slots_by_need().items():
        first = waiting.filter(needs=need).order_by("-priority", "created_at")
        # Not more than the queue holds; the next pass sends the rest.
        for pk in first.values_list("pk", flat=True)[: min(slots, queue.MAX_OUTGOING)]:
            if waiting.filter(pk=pk).update(enqueued_at=Now()):
                queue.enqueue(pk, need)
