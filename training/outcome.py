"""How an attempt ends: with a result, as was asked of it, or without either."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from realtime import events
from training import dispatch
from training.attempt import Attempt
from training.lifecycle import leave_no_dataset, status_by, told_cancelled, told_paused
from training.models import Dataset, Job, TrainedModel
from training.states import Status, Stop


def complete(attempt: Attempt, checkpoint_path: str, evaluation: dict[str, Any]) -> None:
    """The training is done: keep its model."""
    with transaction.atomic():
        job = attempt.end(
            _told_completed,
            status=Status.COMPLETED,
            finished_at=Now(),
            checkpoint_path=checkpoint_path,
        )
        TrainedModel.objects.create(job=job, checkpoint_path=checkpoint_path, evaluation=evaluation)


def complete_generation(
    attempt: Attempt, path: str, content_hash: str, facts: dict[str, Any]
) -> None:
    """The dataset is there."""
    with transaction.atomic():
        job = attempt.end(_told_completed, status=Status.COMPLETED, finished_at=Now())
        Dataset.objects.filter(pk=job.dataset_id).update(
            status=Dataset.State.READY,
            path=path,
            content_hash=content_hash,
            facts=facts,
            samples=facts["samples"],
        )


def _told_completed(job: Job) -> events.Event:
    return events.Completed(
        job_id=job.pk,
        best_epoch=job.best_epoch,
        best_val_loss=job.best_val_loss,
        checkpoint_path=job.checkpoint_path or None,
    )


def fail(attempt: Attempt, message: str) -> None:
    with transaction.atomic():
        job = attempt.end(
            lambda job: events.Failed(job_id=job.pk, error_message=message),
            status=Status.FAILED,
            error_message=message,
            finished_at=Now(),
        )
        if job.kind == Job.Kind.GENERATION:
            Dataset.objects.filter(pk=job.dataset_id).update(status=Dataset.State.FAILED)


def paused(attempt: Attempt) -> None:
    attempt.end(told_paused, status=Status.PAUSED)


def cancelled(attempt: Attempt) -> None:
    with transaction.atomic():
        leave_no_dataset(attempt.end(told_cancelled, status=Status.CANCELLED, finished_at=Now()))


def interrupted(
    attempt: Attempt, actor: str, reason: str, crashed: bool, when: Q | None = None
) -> None:
    """The attempt is over without a result: back to the queue, or `failed` after too many crashes.

    What was asked of it still counts: a job that was to be cancelled or paused becomes that.
    Raises Superseded where the job is not this attempt's, or not as `when` says, any more.
    """
    with transaction.atomic():
        job = attempt.must_change(when=when)
        _interrupted(attempt, job, actor, reason, crashed)


def _interrupted(attempt: Attempt, job: Job, actor: str, reason: str, crashed: bool) -> None:
    if job.stop_requested == Stop.CANCEL:
        return cancelled(attempt)
    if job.stop_requested == Stop.PAUSE:
        return paused(attempt)
    crashes = job.crashes + crashed
    if crashes >= settings.MAX_CRASHES:
        return fail(attempt, f"{reason} That was crash {crashes} in a row without a new epoch.")
    attempt.end(status_by(actor, reason), status=Status.QUEUED, crashes=crashes, enqueued_at=Now())
    return transaction.on_commit(partial(dispatch.announce, job.pk, job.needs))
