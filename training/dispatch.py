"""Tell the workers to look: a message that may be lost, doubled or late without harm."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from uuid import UUID

from celery import current_app
from django.conf import settings

TASK = "training.run"
# The keeper sends again what nobody picked up, so an old message has nothing left to say.
EXPIRES_SECONDS = 60

log = logging.getLogger(__name__)


def announce(job_id: UUID) -> None:
    """Send the job to the queue, from a thread of its own: a dead broker holds nobody up."""
    _sender(os.getpid()).submit(_send, job_id)


def _send(job_id: UUID) -> None:
    try:
        current_app.send_task(
            TASK,
            args=[str(job_id)],
            queue=settings.CELERY_TASK_DEFAULT_QUEUE,
            expires=EXPIRES_SECONDS,
            retry=False,
        )
    except Exception as error:
        # Any fault of the broker: the row says `queued`, and the keeper sends it again.
        log.info("Job %s waits for the broker: %s", job_id, error)


@cache
def _sender(pid: int) -> ThreadPoolExecutor:
    """One thread a process; the pid is part of the key because threads do not survive a fork."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"dispatch-{pid}")
