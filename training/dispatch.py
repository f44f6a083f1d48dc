"""Tell the workers to look: a message that may be lost, doubled or late without harm."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from functools import cache
from uuid import UUID

from celery import current_app
from django.conf import settings

TASK = "training.run"
# The keeper sends again what nobody picked up, so an old message has nothing left to say.
EXPIRES_SECONDS = 60
# Enough for any rush; while the broker is silent more would only wait.
WAITING = 100

log = logging.getLogger(__name__)


def announce(job_id: UUID) -> None:
    """Send the job to the queue, from a thread of its own: a dead broker holds nobody up."""
    # Full: the row says `queued`, and the keeper sends it again.
    with contextlib.suppress(queue.Full):
        _waiting(os.getpid()).put_nowait(job_id)


@cache
def _waiting(pid: int) -> queue.Queue[UUID]:
    """What this process's sender has to send; a fork copies no thread, so each pid has its own."""
    waiting: queue.Queue[UUID] = queue.Queue(WAITING)
    # As a daemon: a process that ends does not wait for a broker that is away.
    threading.Thread(target=_send_all, args=[waiting], name="dispatch", daemon=True).start()
    return waiting


def _send_all(waiting: queue.Queue[UUID]) -> None:
    while True:
        _send(waiting.get())


def _send(job_id: UUID) -> None:
    try:
        current_app.send_task(
            TASK,
            args=[str(job_id)],
            queue=settings.CELERY_TASK_DEFAULT_QUEUE,
            expires=EXPIRES_SECONDS,
            # Once, at once: RabbitMQ cuts off a connection that was idle for long.
            retry=True,
            retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
        )
    except Exception as error:
        # Any fault of the broker: the keeper sends it again.
        log.info("Job %s waits for the broker: %s", job_id, error)
