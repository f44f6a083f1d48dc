"""All job state changes. Each is one transaction that updates exactly one row or does nothing.

A change is a compare-and-set on the row: it increments `seq`, stores its events, and notifies the
publisher after the commit. `training.jobs.attempts` holds the changes of a running attempt; both
go through `change`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from pydantic import BaseModel

from realtime import events
from training.accounts import audit
from training.events import publisher
from training.jobs import directories, queue
from training.jobs.policy import QueuePolicy
from training.models import Dataset, Job, JobEvent, Sweep
from training.models.states import DELETABLE, Status, Stop, direct_sources, sources
from training.programs.registry import DEFAULT_PROGRAM, get_program
from training.webhooks import outbox

DEFAULT_POLICY = QueuePolicy()
EventBuilder = Callable[[Job], events.Event]


class ConflictError(Exception):
    """The job's status does not allow the action."""

    def __init__(self, job: Job, action: str) -> None:
        pending = f", and {job.stop_requested} was already requested" if job.stop_requested else ""
        super().__init__(f"Cannot {action} this job: it is {job.status}{pending}.")


def change(job_id: UUID, when: Q, *builders: EventBuilder, **values: Any) -> Job | None:
    """Set `values` and store the built events if the job matches `when`, else return None.

    A new status also requires that the transition from the job's present one is allowed.
    """
    if "status" in values:
        when &= Q(status__in=sources(values["status"]))
    with transaction.atomic(savepoint=False):
        row = Job.objects.filter(when, pk=job_id)
        if not row.update(seq=F("seq") + len(builders), updated_at=Now(), **values):
            return None
        job = Job.objects.get(pk=job_id)
        _store_events(job, [build(job) for build in builders])
    return job


def _store_events(job: Job, new_events: list[events.Event]) -> None:
    """Store the events that end at the job's current seq, and notify the publisher."""
    first, at = job.seq - len(new_events) + 1, timezone.now()
    JobEvent.objects.bulk_create(
        JobEvent(job=job, seq=seq, event=event.event, data=event.data(), at=at)
        for seq, event in enumerate(new_events, first)
    )
    if new_events:
        outbox.enqueue_job_events(job, new_events)
        transaction.on_commit(partial(publisher.notify, job.pk))


def status_event(actor: str, cause: events.StatusCause, reason: str = "") -> EventBuilder:
    """Build the event that reports the job's present status."""
    return lambda job: events.Status(
        job_id=job.pk,
        status=job.status,
        stop_requested=job.stop_requested,
        display_status=job.display_status,
        actor=actor,
        cause=cause,
        reason=reason,
    )


def cancelled_event(job: Job) -> events.Event:
    return events.Cancelled(job_id=job.pk)


def paused_event(job: Job) -> events.Event:
    return events.Paused(job_id=job.pk, checkpoint_path=job.checkpoint_path or None)


def submit(
    owner: User,
    dataset: Dataset,
    parameters: BaseModel,
    name: str = "",
    *,
    policy: QueuePolicy = DEFAULT_POLICY,
    program: str = DEFAULT_PROGRAM,
    notes: str = "",
    tags: Sequence[str] = (),
    parent: Job | None = None,
    sweep: Sweep | None = None,
    trial: int | None = None,
    team: Group | None = None,
) -> Job:
    """Queue a training."""
    config = parameters.model_dump(mode="json")
    objective = get_program(program).objective
    return _create_queued(
        Job(
            owner=owner,
            kind=Job.Kind.TRAINING,
            program=program,
            objective_metric=objective.metric,
            objective_direction=objective.direction,
            name=name,
            notes=notes,
            tags=list(tags),
            dataset=dataset,
            parent=parent,
            sweep=sweep,
            trial=trial,
            config=config,
            total_epochs=config["epochs"],
            team=team,
            **policy.model_dump(),
        )
    )


def submit_generation(owner: User, name: str, options: BaseModel, team: Group | None = None) -> Job:
    """Queue the generation of a synthetic dataset, whose row is created now."""
    config = options.model_dump(mode="json")
    with transaction.atomic():
        dataset = Dataset.objects.create(
            owner=owner, name=name, team=team, kind=Dataset.Kind.SYNTHETIC,
            status=Dataset.State.GENERATING, samples=config["samples"],
        )  # fmt: skip
        return _create_queued(
            Job(
                owner=owner,
                kind=Job.Kind.GENERATION,
                name=f"Generate {name}",
                dataset=dataset,
                config=config,
                team=team,
            )
        )


def _create_queued(job: Job) -> Job:
    job.seq, job.updated_at, job.enqueued_at = 1, timezone.now(), timezone.now()
    with transaction.atomic():
        job.save(force_insert=True)
        _store_events(job, [status_event(job.owner.username, "queued")(job)])
        transaction.on_commit(partial(queue.enqueue, job.pk, job.needs))
    return job


def request_pause(job: Job, actor: str) -> Job:
    """Pause a queued job at once; ask a running one to stop after its epoch's checkpoint."""
    return (
        change(
            job.pk,
            Q(status__in=direct_sources(Status.PAUSED)),
            status_event(actor, "paused"),
            paused_event,
            status=Status.PAUSED,
        )
        or _request_stop(job, Q(stop_requested=Stop.NONE), Stop.PAUSE, actor)
        or _return_if_already(job, Q(status=Status.RUNNING, stop_requested=Stop.PAUSE), "pause")
    )


def request_cancel(job: Job, actor: str, reason: str = "") -> Job:
    """Cancel a queued or paused job at once; ask a running one to stop within seconds."""
    why = {"cancel_reason": reason} if reason else {}
    with transaction.atomic():
        cancelled = change(
            job.pk,
            Q(status__in=direct_sources(Status.CANCELLED)),
            status_event(actor, "cancelled", reason),
            cancelled_event,
            status=Status.CANCELLED,
            finished_at=Now(),
            **why,
        )
        if cancelled:
            discard_dataset(cancelled)
    return (
        cancelled
        or _request_stop(job, ~Q(stop_requested=Stop.CANCEL), Stop.CANCEL, actor, reason, **why)
        or _return_if_already(job, Q(status=Status.RUNNING, stop_requested=Stop.CANCEL), "cancel")
    )


def discard_dataset(cancelled: Job) -> None:
    """Mark the dataset of a cancelled generation as failed, and remove its files."""
    if cancelled.kind == Job.Kind.GENERATION:
        Dataset.objects.filter(pk=cancelled.dataset_id).update(status=Dataset.State.FAILED)
        transaction.on_commit(partial(directories.remove_dataset, cancelled.dataset_id))


def resume(job: Job, actor: str) -> Job:
    """Queue a paused or failed job again; it continues from its last checkpoint."""
    with transaction.atomic():
        queued = change(
            job.pk,
            Q(status__in=direct_sources(Status.QUEUED)),
            status_event(actor, "resumed"),
            status=Status.QUEUED,
            stop_requested=Stop.NONE,
            error_message="",
            finished_at=None,
            crashes=0,
            enqueued_at=Now(),
        )
        if queued is None:
            return _return_if_already(job, Q(pk=None), "resume")
        if queued.kind == Job.Kind.GENERATION:
            Dataset.objects.filter(pk=queued.dataset_id).update(status=Dataset.State.GENERATING)
        transaction.on_commit(partial(queue.enqueue, job.pk, job.needs))
    return queued


def unchanged_since(job: Job) -> Q:
    """A condition that is true until the job is changed."""
    # A range instead of equality: SQLite stores text, and its clock writes fewer digits than Django
    # compares with.
    return Q(seq=job.seq, updated_at__lt=job.updated_at + timedelta(milliseconds=1))


def update_metadata(job: Job, when: Q | None = None, **labels: Any) -> Job:
    """Change name, notes, tags or team; no event reports it."""
    with transaction.atomic():
        if "team" in labels:
            audit.record("share", job, team=str(labels["team"] or ""))
        return change(job.pk, when or Q(), **labels) or _return_if_already(job, when or Q(), "edit")


def delete_job(job: Job, when: Q | None = None) -> None:
    """Delete a job that is neither queued nor running, with its epochs, events and files."""
    with transaction.atomic():
        rows = Job.objects.select_for_update().filter(when or Q(), pk=job.pk)
        deletable = rows.filter(status__in=DELETABLE).first()
        if deletable is None:
            raise ConflictError(Job.objects.get(pk=job.pk), "delete")
        audit.record("delete", deletable)
        deletable.delete()
        transaction.on_commit(partial(directories.remove_job, job.pk))


def _request_stop(
    job: Job, when: Q, stop: Stop, actor: str, reason: str = "", **values: Any
) -> Job | None:
    running = Q(status=Status.RUNNING) & when
    cause: events.StatusCause = "pause_requested" if stop == Stop.PAUSE else "cancel_requested"
    return change(
        job.pk, running, status_event(actor, cause, reason), stop_requested=stop, **values
    )


def _return_if_already(job: Job, satisfied: Q, action: str) -> Job:
    """Return the job if it matches `satisfied`; raise ConflictError otherwise."""
    found = Job.objects.select_related("dataset").filter(satisfied, pk=job.pk).first()
    if found is None:
        raise ConflictError(Job.objects.get(pk=job.pk), action)
    return found
