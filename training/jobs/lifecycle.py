"""State changes of jobs that users request, and `change`, through which all state changes go.

A change is a compare-and-set on the job's row: it increments `seq`, stores its events and, after
the commit, notifies the publisher. `attempts`, `results`, `reports` and `points` hold the others.
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
from training.accounts import audit, limits
from training.events.publisher import get_publisher
from training.jobs import queue
from training.jobs.access import lost_access
from training.jobs.config_limits import config_problem
from training.jobs.policy import QueuePolicy
from training.models import Dataset, Job, JobEvent, Project, Sweep
from training.models.config_texts import texts_of
from training.models.states import DELETABLE, Status, Stop, direct_sources, sources
from training.programs.registry import DEFAULT_PROGRAM, get_program
from training.storage import file_removal
from training.validation import InvalidInputError
from training.webhooks import outbox

DEFAULT_POLICY = QueuePolicy()
LIMITS = (limits.QUEUED_JOBS, limits.STORED_BYTES)  # of the owner of a job that is queued
# A change of only these keeps `updated_at`, so that a heartbeat does not fail `If-Match`.
HEARTBEAT = frozenset({"heartbeat_at", "lease_expires_at"})
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
        if builders or values.keys() - HEARTBEAT:
            values["updated_at"] = Now()
        if "config" in values:
            values["config_texts"] = texts_of(values["config"])
        if not row.update(seq=F("seq") + len(builders), **values):
            return None
        job = Job.objects.get(pk=job_id)
        _store_events(job, [build(job) for build in builders])
    return job


def _store_events(job: Job, new_events: list[events.Event]) -> None:
    first, at = job.seq - len(new_events) + 1, timezone.now()
    JobEvent.objects.bulk_create(
        JobEvent(job=job, seq=seq, event=event.event, data=event.data(), at=at)
        for seq, event in enumerate(new_events, first)
    )
    if new_events:
        outbox.enqueue_job_events(job, new_events)
        transaction.on_commit(partial(get_publisher().notify, job.pk))


def status_event(actor: str, cause: events.StatusCause, reason: str = "") -> EventBuilder:
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


def require_allowed_priority(priority: int, user: User, field: str = "priority") -> None:
    """Raise InvalidInputError if only staff may use this priority."""
    if priority > 0 and not user.is_staff:
        raise InvalidInputError(
            {field: [f"Only staff can use a priority above 0, such as {priority}; use 0 or less."]}
        )


def submit(
    owner: User,
    dataset: Dataset | None,
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
    project: Project | None = None,
    init_from: str = "",
) -> Job:
    config = parameters.model_dump(mode="json")
    # The specification of a sweep has been checked for all of its trials.
    if sweep is None and (problem := config_problem(config)):
        raise InvalidInputError({"parameters": [problem]})
    manifest = get_program(program)
    require_allowed_priority(policy.priority, owner)
    return _create_queued(
        Job(
            owner=owner,
            kind=Job.Kind.TRAINING,
            program=program,
            resumable=manifest.resumable,
            objective_metric=manifest.objective_metric,
            objective_direction=manifest.objective_direction,
            name=name,
            notes=notes,
            tags=list(tags),
            dataset=dataset,
            parent=parent,
            sweep=sweep,
            trial=trial,
            config=config,
            total_epochs=config.get("epochs", 0),
            team=team,
            project=project,
            init_from=init_from,
            **policy.model_dump(),
        )
    )


def submit_generation(owner: User, name: str, options: BaseModel, team: Group | None = None) -> Job:
    config = options.model_dump(mode="json")
    with transaction.atomic():
        dataset = Dataset.objects.create(
            owner=owner, name=name, team=team, kind=Dataset.Kind.SYNTHETIC,
            status=Dataset.State.GENERATING, samples=config["samples"],
        )  # fmt: skip
        if team:
            audit.record("share", dataset, owner.username, team=str(team))
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
    # The hub and maintenance compare them with the database's clock.
    job.seq, job.updated_at, job.enqueued_at = 1, Now(), Now()
    with transaction.atomic():
        limits.require(job.owner, *LIMITS)
        job.save(force_insert=True)
        job.refresh_from_db(fields=["updated_at", "enqueued_at"])
        _record_share(job)
        _store_events(job, [status_event(job.owner.username, "queued")(job)])
        transaction.on_commit(partial(queue.enqueue, job.pk, job.needs))
    return job


def create_reported(job: Job, *builders: EventBuilder) -> Job:
    """Store a job that already runs elsewhere; no worker claims it."""
    job.reported, job.status, job.attempt = True, Status.RUNNING, 1
    job.started_at = job.started_at or timezone.now()
    # The hub and maintenance compare them with the database's clock.
    job.seq, job.updated_at, job.heartbeat_at = len(builders), Now(), Now()
    with transaction.atomic():
        limits.require(job.owner, limits.REPORTED_JOBS, limits.STORED_BYTES)
        job.save(force_insert=True)
        job.refresh_from_db(fields=["updated_at", "heartbeat_at"])
        _record_share(job)
        _store_events(job, [build(job) for build in builders])
    return job


def _record_share(created: Job) -> None:
    if created.team and created.sweep_id is None:  # trials are shared with their sweep
        audit.record("share", created, created.owner.username, team=str(created.team))


class ReportedElsewhereError(ConflictError):
    """Heimdall cannot start a training that runs elsewhere."""

    def __init__(self, action: str) -> None:
        Exception.__init__(
            self,
            f"Cannot {action} this job: its training runs elsewhere and reports to Heimdall. "
            "Start the script again there.",
        )


class LostAccessError(ConflictError):
    """The job's owner may no longer use its dataset."""

    def __init__(self, action: str, reason: str) -> None:
        Exception.__init__(self, f"Cannot {action} this job: {reason}")


class NotResumableError(ConflictError):
    """A running job of a program without checkpoints would lose its work if it was paused."""

    def __init__(self, job: Job) -> None:
        Exception.__init__(
            self,
            f"Cannot pause this job: its program {job.program!r} declares resumable = false, so it "
            "would start again from the beginning. Cancel it, or let it finish.",
        )


def request_pause(job: Job, actor: str) -> Job:
    """Pause a queued job immediately; ask a running one to stop after its epoch's checkpoint."""
    if job.status == Status.RUNNING and not job.resumable:
        raise NotResumableError(job)
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
    """Cancel a queued or paused job immediately; ask a running one to stop within seconds."""
    values = {"cancel_reason": reason} if reason else {}
    with transaction.atomic():
        cancelled = change(
            job.pk,
            Q(status__in=direct_sources(Status.CANCELLED)),
            status_event(actor, "cancelled", reason),
            cancelled_event,
            status=Status.CANCELLED,
            finished_at=Now(),
            **values,
        )
        if cancelled:
            discard_dataset(cancelled)
    return (
        cancelled
        or _request_stop(job, ~Q(stop_requested=Stop.CANCEL), Stop.CANCEL, actor, reason, **values)
        or _return_if_already(job, Q(status=Status.RUNNING, stop_requested=Stop.CANCEL), "cancel")
    )


def discard_dataset(cancelled: Job) -> None:
    if cancelled.kind == Job.Kind.GENERATION and cancelled.dataset_id:
        Dataset.objects.filter(pk=cancelled.dataset_id).update(status=Dataset.State.FAILED)
        file_removal.schedule_dataset(cancelled.dataset_id)


def resume(job: Job, actor: str) -> Job:
    if job.reported:
        raise ReportedElsewhereError("resume")
    if reason := lost_access(job):
        raise LostAccessError("resume", reason)
    with transaction.atomic():
        limits.lock_owner(job.owner_id)
        if Job.objects.filter(pk=job.pk, status__in=direct_sources(Status.QUEUED)).exists():
            limits.require(job.owner, *LIMITS)
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
        if queued.kind == Job.Kind.GENERATION and queued.dataset_id:
            Dataset.objects.filter(pk=queued.dataset_id).update(status=Dataset.State.GENERATING)
        transaction.on_commit(partial(queue.enqueue, job.pk, job.needs))
    return queued


def set_priority(job: Job, priority: int, user: User, when: Q | None = None) -> Job:
    """Change the priority of a queued or paused job; else raise ConflictError."""
    require_allowed_priority(priority, user)
    waits = Q(status__in=[Status.QUEUED, Status.PAUSED])
    before = job.priority
    changed = change(
        job.pk,
        (when or Q()) & waits,
        status_event(user.username, "note", f"Priority changed from {before} to {priority}."),
        priority=priority,
    )
    return changed or _return_if_already(job, Q(pk=None), "change the priority of")


def unchanged_since(job: Job) -> Q:
    # A range instead of equality: SQLite stores text, and its clock writes fewer digits than Django
    # compares with.
    return Q(seq=job.seq, updated_at__lt=job.updated_at + timedelta(milliseconds=1))


def update_metadata(job: Job, when: Q | None = None, **labels: Any) -> Job:
    with transaction.atomic():
        if "team" in labels:
            audit.record("share", job, team=str(labels["team"] or ""))
        return change(job.pk, when or Q(), **labels) or _return_if_already(job, when or Q(), "edit")


def delete_job(job: Job, when: Q | None = None) -> None:
    """Delete a job that is neither queued nor running, with its epochs, events and files.

    A job that another process has deleted in the meantime counts as deleted.
    """
    with transaction.atomic():
        rows = Job.objects.select_for_update().filter(when or Q(), pk=job.pk)
        deletable = rows.filter(status__in=DELETABLE).first()
        if deletable is None:
            if found := Job.objects.filter(pk=job.pk).first():
                raise ConflictError(found, "delete")
            return
        audit.record("delete", deletable)
        deletable.delete()


def _request_stop(
    job: Job, when: Q, stop: Stop, actor: str, reason: str = "", **values: Any
) -> Job | None:
    running = Q(status=Status.RUNNING) & when
    cause: events.StatusCause = "pause_requested" if stop == Stop.PAUSE else "cancel_requested"
    return change(
        job.pk, running, status_event(actor, cause, reason), stop_requested=stop, **values
    )


def _return_if_already(job: Job, satisfied: Q, action: str) -> Job:
    found = Job.objects.select_related("dataset").filter(satisfied, pk=job.pk).first()
    if found is None:
        raise ConflictError(Job.objects.get(pk=job.pk), action)
    return found
