"""Reported jobs: the training runs elsewhere, and its client reports over HTTP.

Each report is one transaction. A report after a silence continues the job; points that arrive after
its end are stored and change nothing else.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from realtime import events
from training.accounts import limits as user_limits
from training.events import publisher
from training.jobs import disk_use, points, results
from training.jobs.config_limits import MAX_CONFIG_BYTES, MAX_CONFIG_NAMES, config_problem
from training.jobs.lifecycle import (
    ConflictError,
    EventBuilder,
    cancelled_event,
    change,
    create_reported,
    status_event,
)
from training.jobs.logs import AttemptLog, Gap, attempt_log, decode
from training.jobs.metadata import Metadata
from training.jobs.points import Rejection
from training.models import Job, PointIndex, Project, ReportedBatches
from training.models.states import Status, Stop
from training.points import compaction, limits
from training.points.rows import PointLike
from training.programs.metrics import Direction
from training.text import Name
from training.validation import InvalidInputError

PROGRAM = "reported"
REPORTED = Q(reported=True)
MAX_CLIENT_LENGTH = 100
# Ranges in one row of the registry; a client that counts 1, 2, 3, … needs only one.
MAX_RANGES = 200
MAX_LOG_BYTES = 256 * 1024 * 1024
MAX_LOG_TEXT = 16_000  # bytes of one event
_BATCH = re.compile(rf"(?P<client>[!-~]{{1,{MAX_CLIENT_LENGTH}}})-(?P<number>[0-9]{{1,18}})")

FinalStatus = Literal["completed", "failed", "cancelled"]


class ReportedObjective(BaseModel):
    """The metric that decides which epoch is best."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Name = Field(min_length=1, max_length=limits.MAX_NAME_LENGTH)
    direction: Direction = "minimize"


class NewReport(Metadata):
    """A run that reports to Heimdall, and the metadata of its job."""

    project: Name | None = Field(
        None,
        max_length=200,
        description="ID or name of a project; a new name creates one. Default: your default "
        "project.",
    )
    config: dict[str, JsonValue] = Field(
        {},
        description="Hyperparameters and other values that describe the run: at most "
        f"{MAX_CONFIG_NAMES:,} names, and {MAX_CONFIG_BYTES:,} bytes as JSON.",
    )
    total_epochs: int = Field(
        0, ge=0, le=limits.MAX_EPOCH, description="How many epochs are planned; 0: unknown."
    )
    objective: ReportedObjective | None = None


class Finish(BaseModel):
    """How the run ended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: FinalStatus
    error_message: str = Field("", max_length=20_000, description="Why it failed.")


@dataclass(frozen=True, slots=True)
class BatchId:
    """`number` distinguishes the batches of one client."""

    client: str
    number: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is known of a run when it is registered, because it has been recorded before."""

    external_id: str = ""
    started_at: datetime | None = None
    points: Mapping[int, PointLike] = field(default_factory=dict)
    ending: Finish | None = None
    finished_at: datetime | None = None


class PointsRejectedError(ValueError):
    """Some points of a registration cannot be stored, so the run was not registered."""

    def __init__(self, rejected: Sequence[Rejection]) -> None:
        super().__init__(rejected[0].reason)
        self.rejected = rejected


class LogTooLongError(ValueError):
    """The log would be longer than `MAX_LOG_BYTES`."""


def parse_batch_id(text: str) -> BatchId | None:
    """`<client id>-<n>`; None if the text has another form."""
    found = _BATCH.fullmatch(text)
    if found is None:
        return None
    return BatchId(found["client"], int(found["number"]))


def register(
    owner: User,
    report: NewReport,
    project: Project | None,
    team: Group | None,
    started_at: datetime | None = None,
    parent: Job | None = None,
    external_id: str = "",
) -> Job:
    """Raises InvalidInputError if the configuration is too large, and LimitReachedError."""
    _check_config(report.config)
    objective = report.objective
    job = Job(
        owner=owner,
        team=team,
        project=project,
        program=PROGRAM,
        name=report.name,
        notes=report.notes,
        tags=report.tags,
        config=report.config,
        total_epochs=report.total_epochs,
        started_at=started_at,
        parent=parent,
        external_id=external_id,
        objective_metric=objective.metric if objective else "",
        objective_direction=objective.direction if objective else "",
    )
    return create_reported(
        job,
        status_event(owner.username, "registered"),
        lambda job: events.Started(job_id=job.pk, config=job.config),
    )


def _check_config(config: Mapping[str, JsonValue]) -> None:
    if problem := config_problem(config):
        raise InvalidInputError({"config": [problem]})


def find_or_register(
    owner: User,
    report: NewReport,
    project: Project | None,
    team: Group | None,
    parent: Job | None,
    recorded: Recorded,
) -> tuple[Job, bool]:
    """The owner's job with this external ID, else a new one, and whether it is new.

    Raises PointsRejectedError.
    """
    external_id = recorded.external_id
    with transaction.atomic():
        if external_id:
            user_limits.lock_owner(owner.pk)
            known = Job.objects.filter(REPORTED, owner=owner, external_id=external_id).first()
            if known is not None:
                return known, False
        job = register(owner, report, project, team, recorded.started_at, parent, external_id)
        if recorded.points and (
            rejected := points.store_points(job, REPORTED, recorded.points, {})
        ):
            raise PointsRejectedError(rejected)
        if recorded.ending:
            job = _finish(job, recorded.ending, recorded.finished_at)
    return job, True


def record_batch(
    job: Job, batch: BatchId, valid: Mapping[int, PointLike], actor: str
) -> Sequence[Rejection]:
    """Store the valid points, by position, once; return those for which there is no room."""
    with transaction.atomic():
        locked = _lock(job)
        if not _register_batch(locked, batch):
            return points.rejected_for_room(locked, valid)
        _reconnect(locked, actor)
        return points.store_points(locked, REPORTED, valid, {"heartbeat_at": Now()})


def record_points(
    locked: Job, valid: Mapping[int, PointLike], actor: str, **values: Any
) -> Sequence[Rejection]:
    """Store the valid points, by position, and set `values`; the caller has locked the job's row.

    For clients without batches: an equal value of the same step and time is stored once, because it
    is a repeated request. The points of a job that a worker runs do not extend its lease.
    """
    if "config" in values:
        _check_config(values["config"])
    fence = REPORTED if locked.reported else Q()
    if locked.reported:
        _reconnect(locked, actor)
        values["heartbeat_at"] = Now()
    if not valid:
        change(locked.pk, fence, **values)
        return []
    return points.store_points(locked, fence, valid, values)


def heartbeat(job: Job, actor: str) -> Stop:
    """The stop that users have requested; a job that is already cancelled must stop as well."""
    with transaction.atomic():
        locked = _lock(job)
        _reconnect(locked, actor)
        builders: list[EventBuilder] = []
        if locked.status == Status.RUNNING:
            builders = _unannounced(locked, PointIndex.objects.filter(pk=locked.pk).first())
        found = change(locked.pk, REPORTED, *builders, heartbeat_at=Now())
    assert found is not None
    return Stop.CANCEL if found.status == Status.CANCELLED else Stop(found.stop_requested)


def reopen(job: Job, actor: str, *, ends_at_once: bool = False) -> Job:
    """Continue a job whose client reported its failure; other jobs are not changed.

    Raises LimitReachedError, unless the caller ends the job in the same transaction.
    """
    with transaction.atomic():
        user_limits.lock_owner(job.owner_id)
        locked = _lock(job)
        if locked.status == Status.FAILED:
            if not ends_at_once:
                wanted = (user_limits.REPORTED_JOBS, user_limits.STORED_BYTES)
                user_limits.require(locked.owner, *wanted)
            _continue(locked, actor)
    return locked


def finish(job: Job, ending: Finish, actor: str, finished_at: datetime | None = None) -> Job:
    """End the job; repeating that changes nothing but the time of its end, if one is given."""
    with transaction.atomic():
        locked = _lock(job)
        if locked.status == ending.status and not locked.silent:
            if finished_at is None or finished_at == locked.finished_at:
                return locked
            return change(locked.pk, REPORTED, finished_at=finished_at) or locked
        _reconnect(locked, actor)
        return _finish(locked, ending, finished_at)


def _finish(locked: Job, ending: Finish, finished_at: datetime | None) -> Job:
    index = PointIndex.objects.filter(pk=locked.pk).first()
    found = _end(
        locked.pk,
        REPORTED & Q(status=Status.RUNNING),
        *_unannounced(locked, index),
        _end_event(ending.status, ending.error_message),
        status=ending.status,
        error_message=ending.error_message,
        stop_requested=Stop.NONE,
        finished_at=finished_at or Now(),
        heartbeat_at=Now(),
    )
    if found is None:
        raise ConflictError(Job.objects.get(pk=locked.pk), "finish")
    return found


def _end(pk: UUID, when: Q, *builders: EventBuilder, **values: Any) -> Job | None:
    """The change to a final status, after which the files are measured and the points packed."""
    with transaction.atomic():
        found = change(pk, when, *builders, **values)
        if found:
            transaction.on_commit(partial(disk_use.record_job, pk))
            index = PointIndex.objects.filter(pk=pk).first()
            if index is not None and compaction.is_worthwhile(index):
                transaction.on_commit(partial(compaction.start, pk, 0))
    return found


def end_silent(actor: str) -> None:
    """End reported jobs without a report for too long; a requested cancellation cancels them."""
    sends_heartbeats = Q(mlflow_run=None, trackio_run=None)
    _end_silent_jobs(actor, sends_heartbeats, settings.REPORT_SILENCE_SECONDS, "failed")
    # MLflow's client sends no heartbeat between two values.
    _end_silent_jobs(actor, Q(mlflow_run__isnull=False), settings.MLFLOW_SILENCE_SECONDS, "failed")
    # Trackio's client does not announce the end of a run either.
    _end_silent_jobs(
        actor, Q(trackio_run__isnull=False), settings.TRACKIO_SILENCE_SECONDS, "completed"
    )


def _end_silent_jobs(actor: str, kind: Q, seconds: int, ending: FinalStatus) -> None:
    silent = REPORTED & Q(
        status=Status.RUNNING, heartbeat_at__lt=Now() - timedelta(seconds=seconds)
    )
    reason = f"no report for {seconds} seconds"
    for pk in Job.objects.filter(silent, kind).order_by("pk").values_list("pk", flat=True):
        cancelled = change(
            pk,
            silent & Q(stop_requested=Stop.CANCEL),
            status_event(actor, "silent", reason),
            cancelled_event,
            status=Status.CANCELLED,
            stop_requested=Stop.NONE,
            finished_at=Now(),
        )
        if not cancelled:
            _end(
                pk,
                silent,
                status_event(actor, "silent", reason),
                _end_event(ending, reason),
                status=ending,
                silent=True,
                error_message=reason if ending == "failed" else "",
                finished_at=Now() if ending == "failed" else F("heartbeat_at"),
            )


def append_log(job: Job, after: int, content: bytes, actor: str) -> int:
    """Write the content at this offset of the log, where it may stand already; return its size.

    Output before `after` that never came is a gap. Raises LogTooLongError, and LimitReachedError
    for a job that has ended.
    """
    if after + len(content) > MAX_LOG_BYTES:
        raise LogTooLongError(
            f"The log would have {after + len(content):,} bytes; the limit for a reported job is "
            f"{MAX_LOG_BYTES:,}."
        )
    heartbeat(job, actor)
    log = attempt_log(job.pk, job.attempt)
    log.path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log.path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # two requests may repeat the same output at once
        size = os.fstat(file).st_size
        new, at = content[max(0, size - after) :], max(size, after)
        if new and not Job.objects.filter(pk=job.pk, status=Status.RUNNING).exists():
            disk_use.reserve(job, len(new))  # the files were measured when the job ended
        if after > size:
            known = log.gap()
            log.declare_gap(Gap(known.start if known.size else size, after))
        while new:
            written = os.pwrite(file, new, at)
            new, at = new[written:], at + written
    finally:
        os.close(file)
    if at > size:
        _announce_log(job, log, max(size, after), at)
    return max(size, at)


def _announce_log(job: Job, log: AttemptLog, start: int, end: int) -> None:
    piece = log.read(max(start, end - MAX_LOG_TEXT), MAX_LOG_TEXT)
    text, _ = decode(piece.data, final=True)
    publisher.send_ephemeral(
        events.Log(job_id=job.pk, attempt=job.attempt, after=piece.start, text=text)
    )


def _lock(job: Job) -> Job:
    return Job.objects.select_for_update().get(REPORTED, pk=job.pk)


def _reconnect(locked: Job, actor: str) -> None:
    """Continue a job that ended only because no report came; limits do not apply (ADR 37)."""
    if locked.silent and locked.status in (Status.FAILED, Status.COMPLETED):
        _continue(locked, actor)


def _continue(locked: Job, actor: str) -> None:
    change(
        locked.pk,
        REPORTED & Q(status__in=[Status.FAILED, Status.COMPLETED]),
        status_event(actor, "reconnected"),
        status=Status.RUNNING,
        silent=False,
        error_message="",
        finished_at=None,
        heartbeat_at=Now(),
    )
    locked.refresh_from_db()


def _unannounced(locked: Job, index: PointIndex | None) -> list[EventBuilder]:
    """The newest values, if they came too soon after an event to be announced."""
    if index is None or not index.unannounced:
        return []
    builder = points.announce_newest(locked, index)
    index.save()
    return [builder]


def _end_event(status: FinalStatus, error_message: str) -> EventBuilder:
    if status == "completed":
        return results.completed_event
    if status == "cancelled":
        return cancelled_event
    return lambda job: events.Failed(job_id=job.pk, error_message=error_message)


def _register_batch(locked: Job, batch: BatchId) -> bool:
    """Note the batch as applied; False if it is already. Consecutive numbers form ranges."""
    rows = ReportedBatches.objects.filter(job_id=locked.pk, client=batch.client)
    number = batch.number
    for row in rows.filter(first__lte=number, last__gte=number):
        if any(first <= number <= last for first, last in row.ranges):
            return False
    newest = rows.order_by("-pk").first()
    if newest is None or len(newest.ranges) >= MAX_RANGES:
        ReportedBatches.objects.create(
            job_id=locked.pk, client=batch.client, first=number, last=number,
            ranges=[[number, number]],
        )  # fmt: skip
        return True
    if newest.ranges[-1][1] + 1 == number:
        newest.ranges[-1][1] = number
    else:
        newest.ranges.append([number, number])
    newest.first, newest.last = min(newest.first, number), max(newest.last, number)
    newest.save()
    return True
