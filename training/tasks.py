"""Celery's door: a message names a job, and whoever gets it looks at the row."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import Task, shared_task

from training.dispatch import TASK
from training.supervisor import supervise


@shared_task(name=TASK, bind=True)
def run(task: Task[Any, Any], job_id: str) -> None:
    """Run the job if it is queued; a doubled or late message finds that it is not, and returns."""
    supervise(UUID(job_id), worker=task.request.hostname or "worker")
