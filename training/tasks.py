"""Celery's door: a message names a job, and whoever gets it looks at the row."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from celery import Task, shared_task
from django.conf import settings

from training import context
from training.dispatch import REQUEST, TASK, first
from training.supervisor import supervise

log = logging.getLogger(__name__)


@shared_task(name=TASK, bind=True)
def run(task: Task[Any, Any], job_id: str) -> None:
    """Run what is first in the queue; a doubled or late message finds nothing, and returns."""
    mine = first(settings.WORKER_HAS, UUID(job_id))
    for_whom = getattr(task.request, REQUEST, None) if str(mine) == job_id else None
    context.job_id.set(str(mine))
    context.request_id.set(for_whom or "")
    log.info("Looks at job %s.", mine)
    try:
        supervise(mine, worker=task.request.hostname or "worker")
    finally:
        # The process is used again.
        context.job_id.set("")
        context.request_id.set("")
