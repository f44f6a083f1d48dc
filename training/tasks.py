"""The Celery task that runs queued jobs."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from celery import Task, shared_task
from django.conf import settings
from django.db import InterfaceError, OperationalError

from training import request_context
from training.jobs.queue import REQUEST, TASK, next_job
from training.workers.supervisor import supervise

log = logging.getLogger(__name__)


def _next_job() -> UUID | None:
    try:
        return next_job(settings.WORKER_HAS)
    except (InterfaceError, OperationalError) as error:
        # The job stays queued, and maintenance announces it again.
        log.warning("No job can be claimed while the database is unavailable: %s", error)
        return None


@shared_task(name=TASK, bind=True)
def run(task: Task[Any, Any], job_id: str) -> None:
    """Run the first job in the queue; a duplicate or late message finds none and returns."""
    request_ids = {job_id: getattr(task.request, REQUEST, None)}
    last_candidate = None
    try:
        # A worker notified of another job at the same moment may have claimed the first one.
        while (next_id := _next_job()) and next_id != last_candidate:
            request_context.job_id.set(str(next_id))
            request_context.request_id.set(request_ids.get(str(next_id)) or "")
            log.info("Trying to claim job %s.", next_id)
            if supervise(next_id, worker=task.request.hostname or "worker"):
                return
            last_candidate = next_id
    finally:
        # The process runs further tasks.
        request_context.job_id.set("")
        request_context.request_id.set("")
