"""The worker inside the web process, for a machine without a broker: same tasks, same keeper.

Celery carries its messages through memory, so everything that knows of a job's start lives here.
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
    """Two embedded workers on one data folder would take each other's jobs for dead."""


@contextmanager
def embedded_worker() -> Iterator[None]:
    """Train in threads of this process; on the way out hand every running job back."""
    with _exclusive(Path(settings.DATA_DIR) / "embedded.lock"):
        # Whoever ran them held the lock that is ours now, and so is gone: no need for a lease.
        requeue_expired(NAME, Q(worker=NAME), "Heimdall was restarted.", crashed=False)
        # What `celery worker` would do: tasks then know by which name their worker goes.
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
        keeper = MaintenanceThread(NAME, settings.JOBS_AT_ONCE)
        thread.start()
        keeper.start()
        try:
            yield
        finally:
            shutting_down.set()
            keeper.stop()
            state.should_stop = 0
            thread.join(STOP_SECONDS)


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    with lock.open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunningError(
                f"Another Heimdall already trains on {lock.parent}. Stop it first, or set "
                "HEIMDALL_DATA_DIR to another folder."
            ) from error
        yield
