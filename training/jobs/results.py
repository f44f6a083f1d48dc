"""The ends of an attempt: completed, stopped on request, failed, or interrupted."""

from __future__ import annotations

from functools import partial
from typing import Literal

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from pydantic import JsonValue

from realtime import events
from training.data_paths import without_data_dir
from training.jobs import queue
from training.jobs.attempts import Attempt
from training.jobs.lifecycle import cancelled_event, discard_dataset, paused_event, status_event
from training.jobs.objective import value_at_best_epoch
from training.models import Dataset, Job, TrainedModel
from training.models.states import Status, Stop
from training.storage.disk_usage import dataset_bytes

# Why an attempt ended without a result.
Interruption = Literal["requeued", "worker_lost", "worker_stopped", "crashed"]
# Interruptions that count toward MAX_CRASHES: the job itself may have killed its worker.
CRASHES: tuple[Interruption, ...] = ("worker_lost", "crashed")


def complete_training(
    attempt: Attempt, checkpoint_path: str, evaluation: dict[str, JsonValue]
) -> None:
    with transaction.atomic():
        job = attempt.end(
            completed_event,
            status=Status.COMPLETED,
            finished_at=Now(),
            checkpoint_path=checkpoint_path,
        )
        TrainedModel.objects.create(job=job, checkpoint_path=checkpoint_path, evaluation=evaluation)


def complete_program(attempt: Attempt, checkpoint_path: str = "") -> None:
    """Complete a job without a built-in model; without a path, its newest checkpoint is kept."""
    attempt.end(
        completed_event,
        status=Status.COMPLETED,
        finished_at=Now(),
        **({"checkpoint_path": checkpoint_path} if checkpoint_path else {}),
    )


def complete_generation(
    attempt: Attempt, path: str, content_hash: str, facts: dict[str, JsonValue]
) -> None:
    with transaction.atomic():
        job = attempt.end(completed_event, status=Status.COMPLETED, finished_at=Now())
        assert job.dataset_id
        Dataset.objects.filter(pk=job.dataset_id).update(
            status=Dataset.State.READY,
            path=path,
            content_hash=content_hash,
            facts=facts,
            samples=facts["samples"],
            disk_bytes=dataset_bytes(job.dataset_id),
        )


def completed_event(job: Job) -> events.Event:
    return events.Completed(
        job_id=job.pk,
        best_epoch=job.best_epoch,
        best_val_loss=value_at_best_epoch(job, "val_loss"),
        checkpoint_path=job.checkpoint_path or None,
    )


def fail_attempt(attempt: Attempt, message: str) -> None:
    message = without_data_dir(message)
    with transaction.atomic():
        job = attempt.end(
            lambda job: events.Failed(job_id=job.pk, error_message=message),
            status=Status.FAILED,
            error_message=message,
            finished_at=Now(),
        )
        if job.kind == Job.Kind.GENERATION and job.dataset_id:
            Dataset.objects.filter(pk=job.dataset_id).update(status=Dataset.State.FAILED)


def pause_attempt(attempt: Attempt) -> None:
    attempt.end(paused_event, status=Status.PAUSED)


def cancel_attempt(attempt: Attempt) -> None:
    with transaction.atomic():
        discard_dataset(attempt.end(cancelled_event, status=Status.CANCELLED, finished_at=Now()))


def requeue_or_fail(
    attempt: Attempt, actor: str, cause: Interruption, reason: str, when: Q | None = None
) -> None:
    """End an attempt that has no result: queue the job again, or fail it after too many crashes.

    A requested stop still applies: the job is then cancelled or paused instead. Raise
    SupersededError if the job no longer belongs to this attempt or no longer matches `when`.
    """
    reason = without_data_dir(reason)
    with transaction.atomic():
        job = attempt.must_change(when=when)
        _requeue_or_fail_once(attempt, job, actor, cause, reason)


def _requeue_or_fail_once(
    attempt: Attempt, job: Job, actor: str, cause: Interruption, reason: str
) -> None:
    if job.stop_requested == Stop.CANCEL:
        return cancel_attempt(attempt)
    if job.stop_requested == Stop.PAUSE:
        return pause_attempt(attempt)
    crashes = job.crashes + (cause in CRASHES)
    if crashes >= settings.MAX_CRASHES:
        return fail_attempt(
            attempt, f"{reason} That was crash {crashes} in a row without a new epoch."
        )
    attempt.end(
        status_event(actor, cause, reason), status=Status.QUEUED, crashes=crashes, enqueued_at=Now()
    )
    return transaction.on_commit(partial(queue.enqueue, job.pk, job.needs))
