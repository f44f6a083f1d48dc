"""Operations on one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from training.accounts.permissions import require_owner
from training.jobs import lifecycle, reports
from training.jobs.projects import team_of_new_row
from training.mlflow import messages as m
from training.mlflow import recording
from training.mlflow.columns import require_room
from training.mlflow.errors import invalid
from training.mlflow.experiments import find_project
from training.mlflow.operations import EMPTY, Empty
from training.mlflow.run_rows import (
    RUN_NAME,
    as_message,
    as_uuid,
    find_run,
    info_of,
    require_active,
    visible_runs,
    writable_run,
)
from training.models import Job, MlflowRun
from training.models.states import Status

PARENT = "mlflow.parentRunId"
ENDINGS: Mapping[m.RunStatus, reports.FinalStatus] = {
    "FINISHED": "completed", "FAILED": "failed", "KILLED": "cancelled",
}  # fmt: skip
# From 1970 to 9999: the timestamps that every supported database can store.
MAX_MILLISECONDS = 253_402_300_799_999


def create(user: User, request: m.CreateRun) -> m.RunResponse:
    """A repeated request creates another run: MLflow's client sends no idempotency key."""
    project = find_project(user, request.experiment_id)
    tags = {tag.key: tag.value for tag in request.tags}
    if request.run_name:
        tags[RUN_NAME] = request.run_name
    mlflow_run = MlflowRun(user_id=request.user_id)
    labels = recording.set_tags(Job(), mlflow_run, tags)
    with transaction.atomic():
        job = reports.register(
            user,
            reports.NewReport(**labels),
            project,
            team_of_new_row(user, project),
            _timestamp(request.start_time),
            parent=_parent(user, tags.get(PARENT, "")),
        )
        mlflow_run.job = job
        mlflow_run.save(force_insert=True)
    return m.RunResponse(run=as_message(job))


def get(user: User, request: m.RunId) -> m.RunResponse:
    return m.RunResponse(run=as_message(find_run(user, request.run_id, whole=True)))


def update(user: User, request: m.UpdateRun) -> m.RunInfoResponse:
    """A completed run is not reopened. Only the worker ends a job that it runs."""
    job = find_run(user, request.run_id)
    require_active(job)
    if request.run_name:
        changes = recording.set_tags(job, MlflowRun(job=job), {RUN_NAME: request.run_name})
        lifecycle.update_metadata(job, **changes)
    if job.reported and request.status:
        _set_status(job, request.status, user, _timestamp(request.end_time))
    return m.RunInfoResponse(run_info=info_of(find_run(user, request.run_id)))


def delete(user: User, request: m.RunId) -> Empty:
    return _set_deleted(user, request.run_id, timezone.now())


def restore(user: User, request: m.RunId) -> Empty:
    return _set_deleted(user, request.run_id, None)


def log_metric(user: User, request: m.LogMetric) -> Empty:
    recording.record(user, request.run_id, metrics=[request])
    return EMPTY


def log_parameter(user: User, request: m.LogParam) -> Empty:
    params = {request.key: request.value}
    recording.record(user, request.run_id, params=params)
    return EMPTY


def log_batch(user: User, request: m.LogBatch) -> Empty:
    recording.record(
        user,
        request.run_id,
        request.metrics,
        {param.key: param.value for param in request.params},
        {tag.key: tag.value for tag in request.tags},
    )
    return EMPTY


def set_tag(user: User, request: m.SetTag) -> Empty:
    recording.record(user, request.run_id, tags={request.key: request.value})
    return EMPTY


def delete_tag(user: User, request: m.DeleteTag) -> Empty:
    recording.delete_tag(user, request.run_id, request.key)
    return EMPTY


def log_inputs(user: User, request: m.LogInputs) -> Empty:
    """An input is stored once: a dataset by name and digest, a model by its ID."""
    with _stored_run(user, request.run_id) as mlflow_run:
        for one in request.datasets:
            dataset = one.model_dump(mode="json", by_alias=True, exclude_none=True)
            _put(
                mlflow_run.inputs,
                dataset,
                lambda row: (row["dataset"]["name"], row["dataset"]["digest"]),
            )
        for model in request.models:
            _put(mlflow_run.model_inputs, model.model_dump(), lambda row: row["model_id"])
    return EMPTY


def log_outputs(user: User, request: m.LogOutputs) -> Empty:
    with _stored_run(user, request.run_id) as mlflow_run:
        for model in request.models:
            _put(
                mlflow_run.model_outputs,
                model.model_dump(),
                lambda row: (row["model_id"], row["step"]),
            )
    return EMPTY


@contextmanager
def _stored_run(user: User, run_id: str) -> Iterator[MlflowRun]:
    """The row of a run, locked, and saved at the end."""
    job = writable_run(user, run_id)
    with transaction.atomic():
        MlflowRun.objects.get_or_create(job=job, defaults={"user_id": job.owner.username})
        mlflow_run = MlflowRun.objects.select_for_update().get(job=job)
        yield mlflow_run
        require_room("inputs", mlflow_run.inputs)
        require_room("inputs", mlflow_run.model_inputs)
        require_room("outputs", mlflow_run.model_outputs)
        mlflow_run.save(update_fields=["inputs", "model_inputs", "model_outputs"])


def _put(rows: list[Any], row: Any, key: Callable[[Any], Any]) -> None:
    """Add the row, or replace the one with the same key."""
    for position, other in enumerate(rows):
        if key(other) == key(row):
            rows[position] = row
            return
    if len(rows) >= m.MAX_DATASETS:
        raise invalid(f"A run has at most {m.MAX_DATASETS} inputs or outputs of a kind.")
    rows.append(row)


def _set_status(job: Job, status: m.RunStatus, user: User, finished_at: datetime | None) -> None:
    ending = ENDINGS.get(status)
    with transaction.atomic():
        if job.status == Status.FAILED and ending != "failed":
            reports.reopen(job, user.username, ends_at_once=ending is not None)
        if ending and job.status in (Status.RUNNING, Status.FAILED):
            reports.finish(job, reports.Finish(status=ending), user.username, finished_at)


def _set_deleted(user: User, run_id: str, at: datetime | None) -> Empty:
    """By its owner and staff only, like the deletion of a job."""
    job = find_run(user, run_id)
    require_owner(job, user)
    mlflow_run, _ = MlflowRun.objects.get_or_create(
        job=job, defaults={"user_id": job.owner.username}
    )
    mlflow_run.deleted_at = at
    mlflow_run.save(update_fields=["deleted_at"])
    return EMPTY


def _parent(user: User, run_id: str) -> Job | None:
    """The job of that run, if the user can see it."""
    pk = as_uuid(run_id)
    return visible_runs(user).filter(pk=pk).first() if pk else None


def _timestamp(milliseconds: int | None) -> datetime | None:
    if milliseconds is None or not 0 < milliseconds <= MAX_MILLISECONDS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
