"""Notify workers of queued jobs; messages may be lost, duplicated or late without harm."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.db.models import Min, Q, QuerySet
from django.db.models.functions import Now

from training import request_context
from training.accounts import limits
from training.models import Job, QueueTurn
from training.models.states import Needs, Status

TASK = "training.run"
# Maintenance sends unclaimed jobs again, so an old message is worthless.
EXPIRES_SECONDS = 60
# Enough for any burst; while the broker is unreachable, more would only wait.
MAX_OUTGOING = 100

NEVER = datetime.min.replace(tzinfo=UTC)

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

    A message only signals that there is work; the database decides which job is first: the oldest
    job of the owner whose turn it is, among those with the highest priority. It is the turn of the
    owner with the fewest running jobs, and then of the one who has waited for a turn the longest.
    """
    queued = Job.objects.filter(runnable_on(has), status=Status.QUEUED)
    heads = list(_heads(queued))
    owners = {head.owner_id for head in heads}
    running = limits.count_running_jobs(owners)
    allowed = limits.maximums(limits.RUNNING_JOBS, owners)
    turns = dict(QueueTurn.objects.filter(user__in=owners).values_list("user_id", "claimed_at"))

    def order(head: _Head) -> tuple[int, int, datetime, datetime]:
        turn = turns.get(head.owner_id, NEVER)
        return -head.priority, running.get(head.owner_id, 0), turn, head.oldest

    waiting = [head for head in heads if running.get(head.owner_id, 0) < allowed[head.owner_id]]
    if not waiting:
        return None
    first = min(waiting, key=order)
    jobs = queued.filter(owner=first.owner_id, priority=first.priority)
    return jobs.order_by("created_at", "pk").values_list("pk", flat=True).first()


def end_turn(owner_id: int) -> None:
    """Record that the owner's job was claimed, so that other owners come next."""
    QueueTurn.objects.bulk_create(
        [QueueTurn(user_id=owner_id, claimed_at=Now())],
        update_conflicts=True,
        unique_fields=["user"],
        update_fields=["claimed_at"],
    )


class _Head(NamedTuple):
    """The oldest queued job of an owner with this priority."""

    priority: int
    owner_id: int
    oldest: datetime


def _heads(queued: QuerySet[Job]) -> Iterator[_Head]:
    groups = queued.order_by().values("priority", "owner_id").annotate(oldest=Min("created_at"))
    return (_Head(*row) for row in groups.values_list("priority", "owner_id", "oldest"))


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
            expires=EXPIRES_SECONDS,  # for the worker
            expiration=EXPIRES_SECONDS,  # for RabbitMQ, where no worker reads the queue
            # Retry once without delay: RabbitMQ closes a connection that was idle for long.
            retry=True,
            retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
        )
    except Exception as error:
        # The broker is unreachable: maintenance sends the message again.
        log.info("Could not send job %s to the broker; retrying later: %s", message.job_id, error)


def runnable_on(has: Collection[str]) -> Q:
    return Q(needs__in=[Needs.AUTO, *has], reported=False)
