"""Notify workers of queued jobs; messages may be lost, duplicated or late without harm."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.db.models import Q

from training import request_context
from training.models import Job
from training.models.states import Needs, Status

TASK = "training.run"
# Maintenance sends unclaimed jobs again, so an old message is worthless.
EXPIRES_SECONDS = 60
# Enough for any burst; while the broker is unreachable, more would only wait.
MAX_OUTGOING = 100

REQUEST = "request_id"  # header with the request that caused the message


@dataclass(frozen=True, slots=True)
class Message:
    job_id: UUID
    queue: str
    request_id: str


log = logging.getLogger(__name__)


def enqueue(job_id: UUID, needs: str) -> None:
    """Notify the workers from a separate thread: an unreachable broker does not delay callers."""
    where = settings.CELERY_TASK_DEFAULT_QUEUE if needs == Needs.AUTO else f"heimdall.{needs}"
    # If it is full: maintenance sends jobs that stay `queued` again.
    with contextlib.suppress(queue.Full):
        _outgoing(os.getpid()).put_nowait(Message(job_id, where, request_context.request_id.get()))


def next_job(has: Collection[str]) -> UUID | None:
    """The next queued job that this hardware can run.

    A message only signals that there is work; the database decides which job is first.
    """
    rows = Job.objects.filter(runnable_on(has), status=Status.QUEUED)
    return rows.order_by("-priority", "created_at").values_list("pk", flat=True).first()


@cache
def _outgoing(pid: int) -> queue.Queue[Message]:
    """The messages that the sender thread of this process sends; a fork needs a new thread."""
    waiting: queue.Queue[Message] = queue.Queue(MAX_OUTGOING)
    # A daemon thread: an exiting process does not wait for an unreachable broker.
    threading.Thread(target=_send_all, args=[waiting], name="job-queue", daemon=True).start()
    return waiting


def _send_all(waiting: queue.Queue[Message]) -> None:
    while True:
        _send(waiting.get())


def _send(message: Message) -> None:
    try:
        current_app.send_task(
            TASK,
            args=[str(message.job_id)],
            queue=message.queue,
            headers={REQUEST: message.request_id},
            expires=EXPIRES_SECONDS,
            # Retry once without delay: RabbitMQ closes a connection that was idle for long.
            retry=True,
            retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
        )
    except Exception as error:
        # The broker is unreachable: maintenance sends the message again.
        log.info("Could not send job %s to the broker; retrying later: %s", message.job_id, error)


def runnable_on(has: Collection[str]) -> Q:
    """A condition: a worker with this hardware can run the job."""
    return Q(needs__in=[Needs.AUTO, *has])
