"""Runs are jobs: which ones a user can see and change, and their messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from training.accounts.permissions import visible_by_key, visible_to
from training.mlflow import messages as m
from training.mlflow.errors import invalid, not_found
from training.mlflow.experiments import (
    DEFAULT_ID,
    artifact_location,
    experiment_id,
    milliseconds,
)
from training.models import Job, MlflowRun, PointIndex, Project
from training.models.states import Status
from training.points.store import newest_points
from training.programs.registry import DEFAULT_PROGRAM

# Tags that are fields of the job.
RUN_NAME, NOTE = "mlflow.runName", "mlflow.note.content"
STATUS: Mapping[str, m.RunStatus] = {
    Status.QUEUED: "SCHEDULED",
    Status.PAUSED: "SCHEDULED",
    Status.RUNNING: "RUNNING",
    Status.COMPLETED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "KILLED",
}


INPUTS = ("inputs", "model_inputs", "model_outputs")
_LARGE = ("tags", "params", *INPUTS)


def all_runs(*, whole: bool = False) -> QuerySet[Job]:
    """Without `whole`, the large columns are read when they are accessed."""
    rows = Job.objects.filter(kind=Job.Kind.TRAINING).select_related("owner", "mlflow_run")
    return rows if whole else rows.defer(*(f"mlflow_run__{name}" for name in _LARGE))


def visible_runs(user: User) -> QuerySet[Job]:
    return visible_to(all_runs(), user)


def in_experiments(rows: QuerySet[Job], user: User, experiments: Sequence[str]) -> QuerySet[Job]:
    """The jobs of the given experiments, except those that the user cannot see."""
    named = [pk for pk in map(as_uuid, experiments) if pk is not None]
    projects = visible_to(Project.objects.filter(pk__in=named), user)
    wanted = Q(project__in=list(projects.values_list("pk", flat=True)))
    if DEFAULT_ID in experiments:
        wanted |= Q(project=None)
    return rows.filter(wanted)


def find_run(user: User, run_id: str, *, lock: bool = False, whole: bool = False) -> Job:
    """A job that the user can see, with its row locked if `lock`; raises MlflowError."""
    pk, rows = as_uuid(run_id), visible_by_key(all_runs(whole=whole), user)
    if lock:
        rows = rows.select_for_update(of=("self",))
    found = rows.filter(pk=pk).first() if pk else None
    if found is None:
        raise not_found(f"Run with id={run_id} not found")
    return found


def writable_run(user: User, run_id: str, *, lock: bool = False) -> Job:
    """Raises MlflowError unless values can be recorded in the run."""
    job = find_run(user, run_id, lock=lock)
    require_active(job)
    if not job.reported and (job.status != Status.RUNNING or job.program == DEFAULT_PROGRAM):
        raise invalid(
            f"Run {run_id} belongs to a Heimdall job. Values can be logged only while the job is "
            f"running, and not to jobs of the program {DEFAULT_PROGRAM!r}."
        )
    return job


def require_active(job: Job) -> None:
    """Raises MlflowError if MLflow clients have deleted the run."""
    if is_deleted(job):
        raise invalid(
            f"The run {job.pk.hex} must be in the 'active' state. Current state is deleted."
        )


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def stored(job: Job) -> MlflowRun | None:
    found: MlflowRun | None = getattr(job, "mlflow_run", None)
    return found


def is_deleted(job: Job) -> bool:
    more = stored(job)
    return more is not None and more.deleted_at is not None


def params_of(job: Job, more: MlflowRun | None) -> dict[str, str]:
    """The configuration as texts, and parameters that a program has logged in addition."""
    return {**job.config, **job.config_texts, **(more.params if more else {})}


def tags_of(job: Job) -> dict[str, str]:
    more = stored(job)
    found = dict(more.tags) if more else {}
    if job.notes:
        found[NOTE] = job.notes
    return {**found, RUN_NAME: str(job)}


def as_message(job: Job) -> m.Run:
    more = stored(job)
    data = m.RunData.model_construct(
        metrics=_metrics(job),
        params=[
            m.Param.model_construct(key=key, value=value)
            for key, value in params_of(job, more).items()
        ],
        tags=[m.Tag.model_construct(key=key, value=value) for key, value in tags_of(job).items()],
    )
    inputs, outputs = m.RunInputs(), m.RunOutputs()
    if more is not None and (more.inputs or more.model_inputs):
        inputs = m.RunInputs.model_validate(
            {"dataset_inputs": more.inputs, "model_inputs": more.model_inputs}
        )
    if more is not None and more.model_outputs:
        outputs = m.RunOutputs.model_validate({"model_outputs": more.model_outputs})
    return m.Run.model_construct(info=info_of(job), data=data, inputs=inputs, outputs=outputs)


def info_of(job: Job) -> m.RunInfo:
    more, run_id, experiment = stored(job), job.pk.hex, experiment_id(job)
    return m.RunInfo.model_construct(
        run_uuid=run_id,
        experiment_id=experiment,
        run_name=str(job),
        user_id=more.user_id if more else job.owner.username,
        status=STATUS[job.status],
        start_time=milliseconds(job.started_at or job.created_at),
        end_time=milliseconds(job.finished_at) if job.finished_at else None,
        artifact_uri=f"{artifact_location(experiment)}/{run_id}/artifacts",
        lifecycle_stage="deleted" if is_deleted(job) else "active",
        run_id=run_id,
    )


def _metrics(job: Job) -> list[m.Metric]:
    index: PointIndex | None = getattr(job, "point_index", None)
    return [
        m.Metric.model_construct(
            key=one.name, value=one.value, timestamp=round(one.time * 1000), step=one.step
        )
        for one in (newest_points(index) if index else ())
    ]
