"""Looks every few seconds, and puts right what a lost message or a dead process left behind.

Any number may run: each step is a compare-and-set, so doing it twice changes nothing.
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

# A queued job that nobody picked up for this long is announced again.
REENQUEUE_SECONDS = 5

log = logging.getLogger(__name__)


class MaintenanceThread:
    """The thread that looks, and says meanwhile that its worker is there."""

    def __init__(self, worker: str, slots: int) -> None:
        self.worker, self.slots = worker, slots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._sender = DeliveryThread()
        self._say = workers.register
        self._leases_count_from = time.monotonic()

    def start(self) -> None:
        self._thread.start()
        self._sender.start()

    def stop(self) -> None:
        self._stop.set()
        self._sender.stop()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        well = True
        while True:
            try:
                close_old_connections()
                if not well:
                    # Nobody could beat while the database was away: let everyone do so first.
                    self._leases_count_from = time.monotonic() + settings.LEASE_SECONDS
                self.look()
            except Exception:
                # Whatever it is (the database is away, say): say so once, and look again.
                if well:
                    log.exception("The keeper could not look; it keeps trying.")
                well = False
            else:
                if not well:
                    log.warning("The keeper can look again.")
                well = True
            if self._stop.wait(settings.MAINTENANCE_SECONDS):
                return self._say_goodbye()

    def look(self) -> None:
        """One round: expired leases, jobs that nobody picked up, sweeps, events not yet sent."""
        self._say(self.worker, self.slots, settings.WORKER_HAS)
        self._say = workers.heartbeat
        if time.monotonic() >= self._leases_count_from:
            expired = Q(lease_expires_at__lt=Now())
            requeue_expired(
                self.worker, expired, "worker_lost", "The worker was lost: no heartbeat."
            )
        reenqueue_stale()
        scheduler.run_once()
        publisher.get_publisher().scan()

    def _say_goodbye(self) -> None:
        # Where the database is away, the row tells later that the worker was lost.
        with contextlib.suppress(Exception):
            workers.deregister(self.worker)
        connection.close()


def requeue_expired(actor: str, whose: Q, cause: results.Interruption, reason: str) -> None:
    """Take back the running jobs of `whose`: their workers are gone."""
    running = Job.objects.filter(whose, status=Status.RUNNING).order_by("pk")
    for pk, number in running.values_list("pk", "attempt"):
        # Another keeper may have been first; or the worker was only slow, and has beaten since.
        with contextlib.suppress(SupersededError):
            results.requeue_or_fail(Attempt(pk, number), actor, cause, reason, when=whose)


def reenqueue_stale() -> None:
    """Send every queued job whose message seems to be lost."""
    stale = Q(enqueued_at__lt=Now() - timedelta(seconds=REENQUEUE_SECONDS))
    waiting = Job.objects.filter(stale, status=Status.QUEUED)
    first = waiting.order_by("-priority", "created_at")
    # No more than the sender takes: what is left over is the next round's.
    for pk, needs in first.values_list("pk", "needs")[: queue.MAX_OUTGOING]:
        if waiting.filter(pk=pk).update(enqueued_at=Now()):
            queue.enqueue(pk, needs)
