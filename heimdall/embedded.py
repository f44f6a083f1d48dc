"""A Celery worker inside the web process, for machines without a broker.

Celery's messages stay in memory, so jobs have to be enqueued by this process.
"""

from __future__ import annotations

import fcntl
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery.app.trace import setup_worker_optimizations
from celery.worker import state
from django.conf import settings
from django.db.models import Q

from heimdall.celery import app
from training.workers.maintenance import MaintenanceThread, requeue_expired
from training.workers.supervisor import shutting_down

NAME = f"embedded@{platform.node()}"
STOP_SECONDS = 10


class AlreadyRunningError(Exception):
    """Two embedded workers on one data directory would each consider the other's jobs lost."""


@contextmanager
def embedded_worker() -> Iterator[None]:
    """Train in threads of this process; requeue running jobs on exit."""
    with _exclusive(Path(settings.DATA_DIR) / "embedded.lock"):
        # The process that ran these jobs held our lock, so it has ended: ignore their leases.
        requeue_expired(NAME, Q(worker=NAME), "worker_stopped", "Heimdall was restarted.")
        # As `celery worker` does: gives tasks the host name of their worker.
        setup_worker_optimizations(app, NAME)
        worker = app.WorkController(
            hostname=NAME,
            pool="threads",
            concurrency=settings.JOBS_AT_ONCE,
            loglevel="WARNING",
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        thread = threading.Thread(target=worker.start, name="embedded-worker", daemon=True)
        maintenance = MaintenanceThread(NAME, settings.JOBS_AT_ONCE)
        thread.start()
        maintenance.start()
        try:
            yield
        finally:
            shutting_down.set()
            maintenance.stop()
            state.should_stop = 0
            thread.join(STOP_SECONDS)


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunningError(
                f"Another Heimdall process already uses {lock.parent}. Stop it first, or set "
                "HEIMDALL_DATA_DIR to another directory."
            ) from error
        yield
