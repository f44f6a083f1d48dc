"""The changes of a running attempt; each is fenced by the attempt's number.

A worker whose lease expired holds an old number: its next change raises `SupersededError`, and it
stops. The lease is kept on the database's clock, so the clocks of workers do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

from realtime import events
from training.accounts import limits, tokens
from training.data_paths import without_data_dir
from training.jobs import queue
from training.jobs.lifecycle import EventBuilder, change, status_event
from training.models import Epoch, Job
from training.models.states import Status, Stop
from training.programs.registry import DEFAULT_PROGRAM, describe_program


class SupersededError(Exception):
    """The job no longer belongs to this attempt, which must not write any more."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claim on a running job: the fencing token."""

    job_id: UUID
    number: int
    program: str = DEFAULT_PROGRAM

    @property
    def fence(self) -> Q:
        return Q(status=Status.RUNNING, attempt=self.number)

    def change(self, *builders: EventBuilder, when: Q | None = None, **values: Any) -> Job | None:
        return change(self.job_id, self.fence & (when or Q()), *builders, **values)

    def must_change(self, *builders: EventBuilder, when: Q | None = None, **values: Any) -> Job:
        job = self.change(*builders, when=when, **values)
        if job is None:
            raise SupersededError(f"attempt {self.number} of job {self.job_id} was superseded")
        return job

    def end(self, *builders: EventBuilder, **values: Any) -> Job:
        return self.must_change(
            *builders,
            lease_expires_at=None,
            worker="",
            stop_requested=Stop.NONE,
            estimated_end_at=None,
            **values,
        )


class Lease(TypedDict):
    heartbeat_at: Now
    lease_expires_at: Combinable


def lease() -> Lease:
    return {
        "heartbeat_at": Now(),
        "lease_expires_at": Now() + timedelta(seconds=settings.LEASE_SECONDS),
    }


def claim(job_id: UUID, worker: str) -> tuple[Attempt, Job] | None:
    """Claim a queued job; None if it is not queued, needs other hardware, or may not run yet."""
    owner_id = Job.objects.filter(pk=job_id).values_list("owner", flat=True).first()
    if owner_id is None:
        return None
    with transaction.atomic():
        limits.lock_owner(owner_id)
        if not limits.has_room(owner_id, limits.RUNNING_JOBS):
            return None
        job = change(
            job_id,
            Q(status=Status.QUEUED) & queue.runnable_on(settings.WORKER_HAS),
            status_event(worker, "claimed"),
            status=Status.RUNNING,
            worker=worker,
            attempt=F("attempt") + 1,
            **lease(),
        )
        if job:
            queue.end_turn(owner_id)
            # Otherwise that of an earlier attempt would be valid again while the job runs.
            tokens.delete_job_token(job)
    return (Attempt(job.pk, job.attempt, job.program), job) if job else None


def extend_lease(attempt: Attempt) -> bool:
    """Whether the job still belongs to the attempt; its lease then restarts."""
    return attempt.change(**lease()) is not None


def has_been_alone(attempt: Attempt, seconds: float) -> bool:
    """Whether no other job of the program has run in the last seconds."""
    since = Now() - timedelta(seconds=seconds)
    others = Job.objects.filter(
        Q(status=Status.RUNNING) | Q(heartbeat_at__gte=since) | Q(finished_at__gte=since),
        program=attempt.program,
    )
    return not others.exclude(pk=attempt.job_id).exists()


def requested_stop(attempt: Attempt) -> Stop:
    """The requested stop; raises SupersededError if the job no longer belongs to the attempt."""
    rows = Job.objects.filter(attempt.fence, pk=attempt.job_id)
    stop_requested = rows.values_list("stop_requested", flat=True).first()
    if stop_requested is None:
        raise SupersededError(f"attempt {attempt.number} of job {attempt.job_id} was superseded")
    return Stop(stop_requested)


def record_started(
    attempt: Attempt,
    dataset_size: int | None = None,
    train_samples: int | None = None,
    val_samples: int | None = None,
    resumed_from_epoch: int | None = None,
    total_epochs: int | None = None,
) -> None:
    # `started_at` is the first start: later attempts keep it.
    attempt.change(when=Q(started_at=None), started_at=Now())
    attempt.must_change(
        lambda job: events.Started(
            job_id=job.pk,
            config=job.config,
            dataset_size=dataset_size,
            train_samples=train_samples,
            val_samples=val_samples,
            resumed_from_epoch=resumed_from_epoch,
        ),
        total_epochs=F("total_epochs") if total_epochs is None else total_epochs,
        **lease(),
    )


class EpochReport(NamedTuple):
    """The report of one epoch. In a batch of reports, only the last has a checkpoint path."""

    epoch: int
    metrics: Mapping[str, float | None]
    seconds: float
    is_best: bool
    checkpoint_path: str

    def event_builders(self) -> list[EventBuilder]:
        return [partial(self._event, best) for best in (False, True)[: 1 + self.is_best]]

    def _event(self, is_best: bool, job: Job) -> events.Event:
        return events.Progress(
            job_id=job.pk,
            epoch=self.epoch,
            total_epochs=job.total_epochs,
            metrics=self.metrics,
            is_best=is_best,
        )


def record_epochs(attempt: Attempt, *reports: EpochReport) -> None:
    """Store consecutive epochs and their events in one transaction.

    Epochs that are stored already, and were computed again after a resume, are skipped.
    """
    first, last = reports[0], reports[-1]
    bests = [report for report in reports if report.is_best]
    best = {
        "best_epoch": bests[-1].epoch,
        **describe_program(attempt.program).at_best_epoch(bests[-1].metrics),
    } if bests else {}  # fmt: skip
    with transaction.atomic():
        job = attempt.change(
            *[builder for report in reports for builder in report.event_builders()],
            when=Q(current_epoch=first.epoch - 1),
            current_epoch=last.epoch,
            crashes=0,
            summary=_newest_metrics(reports),
            **_newest_path(reports),
            **lease(),
            **best,
        )
        if job is None:
            _record_replayed_epochs(attempt, reports)
            return
        Epoch.objects.bulk_create(
            Epoch(
                job=job,
                epoch=report.epoch,
                metrics=report.metrics,
                is_best=report.is_best,
                seconds=report.seconds,
                attempt=attempt.number,
                at=timezone.now(),
            )
            for report in reports
        )


def _newest_metrics(reports: Sequence[EpochReport]) -> dict[str, float | None]:
    newest = {name: value for report in reports for name, value in report.metrics.items()}
    # JSON has no NaN and no infinities.
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in newest.items()
    }


def _newest_path(reports: Sequence[EpochReport]) -> dict[str, str]:
    paths = [report.checkpoint_path for report in reports if report.checkpoint_path]
    return {"checkpoint_path": paths[-1]} if paths else {}


def _record_replayed_epochs(attempt: Attempt, reports: Sequence[EpochReport]) -> None:
    last = reports[-1].epoch
    if attempt.change(when=Q(current_epoch__gte=last), **_newest_path(reports), **lease()):
        return
    job = attempt.must_change(**lease())
    new = [report for report in reports if report.epoch > job.current_epoch]
    if new == list(reports):
        raise RuntimeError(
            f"The trainer reported epoch {reports[0].epoch} of job {job.pk} after epoch "
            f"{job.current_epoch}: an epoch is missing."
        )
    record_epochs(attempt, *new)


def record_generation(attempt: Attempt, current: int, total: int, message: str) -> None:
    attempt.must_change(
        lambda job: events.GenerationProgress(
            job_id=job.pk, current=current, total=total, message=message
        ),
        generated=current,
        **lease(),
    )


def record_note(attempt: Attempt, actor: str, message: str) -> None:
    attempt.must_change(status_event(actor, "note", without_data_dir(message)), **lease())
