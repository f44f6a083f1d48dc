"""The changes of a running attempt; each is fenced by the attempt's number.

A worker whose lease expired holds an old number: its next change raises `SupersededError`, and it
stops. The lease is kept on the database's clock, so the clocks of workers do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from realtime import events
from training.jobs import queue
from training.jobs.lifecycle import EventBuilder, change, status_event
from training.models import Epoch, Job
from training.models.states import Status, Stop
from training.programs.registry import DEFAULT_PROGRAM, get_program


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
            raise SupersededError(f"attempt {self.number} of job {self.job_id} no longer has it")
        return job

    def end(self, *builders: EventBuilder, **values: Any) -> Job:
        """The attempt's last change, which releases the lease."""
        return self.must_change(
            *builders, lease_expires_at=None, worker="", stop_requested=Stop.NONE, **values
        )


def _lease() -> dict[str, Any]:
    return {
        "heartbeat_at": Now(),
        "lease_expires_at": Now() + timedelta(seconds=settings.LEASE_SECONDS),
    }


def claim(job_id: UUID, worker: str) -> tuple[Attempt, Job] | None:
    """Claim a queued job; None if it is not queued or needs other hardware."""
    job = change(
        job_id,
        Q(status=Status.QUEUED) & queue.runnable_on(settings.WORKER_HAS),
        status_event(worker, "claimed"),
        status=Status.RUNNING,
        worker=worker,
        attempt=F("attempt") + 1,
        **_lease(),
    )
    return (Attempt(job.pk, job.attempt, job.program), job) if job else None


def heartbeat(attempt: Attempt) -> Stop:
    """Renew the lease; return the requested stop."""
    return Stop(attempt.must_change(**_lease()).stop_requested)


def requested_stop(attempt: Attempt) -> Stop:
    """The requested stop; raises SupersededError if the job no longer belongs to the attempt."""
    rows = Job.objects.filter(attempt.fence, pk=attempt.job_id)
    asked = rows.values_list("stop_requested", flat=True).first()
    if asked is None:
        raise SupersededError(f"attempt {attempt.number} of job {attempt.job_id} no longer has it")
    return Stop(asked)


def record_started(
    attempt: Attempt,
    dataset_size: int,
    train_samples: int = 0,
    val_samples: int = 0,
    resumed_from_epoch: int | None = None,
) -> None:
    """Record that the trainer has loaded its dataset."""
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
        **_lease(),
    )


class EpochReport(NamedTuple):
    """The report of one epoch. In a batch of reports, only the last has a checkpoint path."""

    epoch: int
    metrics: dict[str, float | None]
    seconds: float
    is_best: bool
    checkpoint_path: str

    def event_builders(self) -> list[EventBuilder]:
        """A new best epoch has a second event, with `is_best`."""
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
    bests = [one for one in reports if one.is_best]
    best = {
        "best_epoch": bests[-1].epoch,
        **get_program(attempt.program).at_best_epoch(bests[-1].metrics),
    } if bests else {}  # fmt: skip
    with transaction.atomic():
        job = attempt.change(
            *[builder for report in reports for builder in report.event_builders()],
            when=Q(current_epoch=first.epoch - 1),
            current_epoch=last.epoch,
            crashes=0,
            **_newest_path(reports),
            **_lease(),
            **best,
        )
        if job is None:
            _record_replayed_epochs(attempt, reports)
            return
        Epoch.objects.bulk_create(
            Epoch(
                job=job,
                epoch=one.epoch,
                metrics=one.metrics,
                is_best=one.is_best,
                seconds=one.seconds,
                attempt=attempt.number,
                at=timezone.now(),
            )
            for one in reports
        )


def _newest_path(reports: Sequence[EpochReport]) -> dict[str, str]:
    """The last reported checkpoint; without one, the job keeps its present path."""
    paths = [one.checkpoint_path for one in reports if one.checkpoint_path]
    return {"checkpoint_path": paths[-1]} if paths else {}


def _record_replayed_epochs(attempt: Attempt, reports: Sequence[EpochReport]) -> None:
    last = reports[-1].epoch
    if attempt.change(when=Q(current_epoch__gte=last), **_newest_path(reports), **_lease()):
        return
    job = attempt.must_change(**_lease())
    new = [one for one in reports if one.epoch > job.current_epoch]
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
        **_lease(),
    )


def record_note(attempt: Attempt, actor: str, message: str) -> None:
    """Record a message of the trainer, which continues."""
    attempt.must_change(status_event(actor, "note", message), **_lease())
