"""Periodic maintenance: repairs what a lost message or a dead process left behind.

Any number of threads may run it: each step is a compare-and-set, so repeating it changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from datetime import timedelta

from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models import Q
from django.db.models.functions import Now

from training.events import publisher
from training.jobs import queue, results
from training.jobs.attempts import Attempt, SupersededError
from training.models import Job
from training.models.states import Status
from training.sweeps import scheduler
from training.webhooks.delivery import DeliveryThread
from training.workers import registry as workers

# A queued job that was not claimed for this long is enqueued again.
REENQUEUE_SECONDS = 5

log = logging.getLogger(__name__)


class MaintenanceThread:
    """Runs maintenance every `MAINTENANCE_SECONDS` and sends the heartbeat of its worker."""

    def __init__(self, worker: str, slots: int) -> None:
        self.worker, self.slots = worker, slots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        self._sender = DeliveryThread()
        self._report_worker = workers.register
        self._leases_count_from = time.monotonic()

    def start(self) -> None:
        self._thread.start()
        self._sender.start()

    def stop(self) -> None:
        self._stop.set()
        self._sender.stop()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        healthy = True
        while True:
            try:
                close_old_connections()
                if not healthy:
                    # No worker could extend its lease while the database was unreachable: wait
                    # for a full lease before any lease counts as expired.
                    self._leases_count_from = time.monotonic() + settings.LEASE_SECONDS
                self.run_once()
            except Exception:
                # Usually the database is unreachable: log it once and retry.
                if healthy:
                    log.exception("Maintenance pass failed; retrying.")
                healthy = False
            else:
                if not healthy:
                    log.warning("Maintenance works again.")
                healthy = True
            if self._stop.wait(settings.MAINTENANCE_SECONDS):
                return self._deregister()

    def run_once(self) -> None:
        """One pass: worker heartbeat, expired leases, unclaimed jobs, sweeps, unsent events."""
        self._report_worker(self.worker, self.slots, settings.WORKER_HAS)
        self._report_worker = workers.heartbeat
        if time.monotonic() >= self._leases_count_from:
            expired = Q(lease_expires_at__lt=Now())
            requeue_expired(
                self.worker, expired, "worker_lost", "The worker was lost: no heartbeat."
            )
        reenqueue_stale()
        scheduler.run_once()
        publisher.get_publisher().scan()

    def _deregister(self) -> None:
        # If the database is unreachable, the worker is later detected as lost.
        with contextlib.suppress(Exception):
            workers.deregister(self.worker)
        connection.close()


def requeue_expired(actor: str, whose: Q, cause: results.Interruption, reason: str) -> None:
    """Requeue the running jobs that match `whose`, because their workers are lost."""
    running = Job.objects.filter(whose, status=Status.RUNNING).order_by("pk")
    for pk, number in running.values_list("pk", "attempt"):
        # Another thread may have been first, or the worker has sent a heartbeat meanwhile.
        with contextlib.suppress(SupersededError):
            results.requeue_or_fail(Attempt(pk, number), actor, cause, reason, when=whose)


def reenqueue_stale() -> None:
    """Enqueue again every queued job whose message seems to be lost."""
    stale = Q(enqueued_at__lt=Now() - timedelta(seconds=REENQUEUE_SECONDS))
    waiting = Job.objects.filter(stale, status=Status.QUEUED)
    first = waiting.order_by("-priority", "created_at")
    # Not more than the queue holds; the next pass sends the rest.
    for pk, needs in first.values_list("pk", "needs")[: queue.MAX_OUTGOING]:
        if waiting.filter(pk=pk).update(enqueued_at=Now()):
            queue.enqueue(pk, needs)
