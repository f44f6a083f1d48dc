"""Experiments: the projects that a user can see, and "0" for the jobs without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from heimdall_sdk.text import TextError, normalize_name
from training.accounts.permissions import require_owner, visible_to
from training.jobs.projects import (
    DEFAULT_NAME,
    ProjectNameTakenError,
    create_project,
    update_project,
)
from training.mlflow import messages as m
from training.mlflow.columns import require_room
from training.mlflow.errors import MlflowError, invalid, not_found
from training.mlflow.filter_grammar import Attributes, Column, parse_filter, parse_order
from training.mlflow.filter_values import compared_kinds, select
from training.mlflow.operations import EMPTY, Empty
from training.mlflow.pages import decode_token, next_token, read_page
from training.mlflow.row_search import READ_TOGETHER
from training.models import Job, MlflowExperiment, Project

DEFAULT_ID = "0"
MAX_NAME = 200
ATTRIBUTES = Attributes(
    numeric=frozenset({"creation_time", "last_update_time"}),
    textual=frozenset({"name", "experiment_id"}),
)


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def experiment_id(job: Job) -> str:
    return job.project_id.hex if job.project_id else DEFAULT_ID


def artifact_location(experiment: str) -> str:
    return f"mlflow-artifacts:/{experiment}"


def find_project(user: User, experiment: str) -> Project | None:
    """The visible project; None for the experiment "0". Raises MlflowError."""
    if experiment == DEFAULT_ID:
        return None
    try:
        pk = UUID(experiment)
    except ValueError:
        pk = None
    found = _visible(user).filter(pk=pk).first() if pk else None
    if found is None:
        raise not_found(f"No Experiment with id={experiment} exists")
    return found


def create(user: User, request: m.CreateExperiment) -> m.CreateExperimentResponse:
    name = _checked_name(request.name)
    location = request.artifact_location
    if location and not location.startswith("mlflow-artifacts:"):
        raise invalid("A custom artifact location is not supported: Heimdall stores the artifacts.")
    try:
        with transaction.atomic():
            project = create_project(user, name)
            if request.tags:
                tags = {tag.key: tag.value for tag in request.tags}
                require_room("tags", tags)
                MlflowExperiment.objects.create(project=project, tags=tags)
    except ProjectNameTakenError:
        raise MlflowError(
            "RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists."
        ) from None
    return m.CreateExperimentResponse(experiment_id=project.pk.hex)


def get(user: User, request: m.ExperimentId) -> m.ExperimentResponse:
    return _response(user, find_project(user, request.experiment_id))


def get_by_name(user: User, request: m.GetExperimentByName) -> m.ExperimentResponse:
    """The user's own project of that name before one of a team."""
    name = request.experiment_name
    if name == DEFAULT_NAME:
        return _response(user, None)
    named = sorted(_visible(user).filter(name=name), key=lambda one: one.owner_id != user.pk)
    if not named:
        raise not_found(f"Could not find experiment with name '{name}'")
    return _response(user, named[0])


def update(user: User, request: m.UpdateExperiment) -> Empty:
    project = _required(user, request.experiment_id)
    require_owner(project, user)
    try:
        update_project(project, name=_checked_name(request.new_name))
    except ProjectNameTakenError as error:
        raise MlflowError("RESOURCE_ALREADY_EXISTS", str(error)) from error
    return EMPTY


def delete(user: User, request: m.ExperimentId) -> Empty:
    return _set_deleted(user, request.experiment_id, timezone.now())


def restore(user: User, request: m.ExperimentId) -> Empty:
    return _set_deleted(user, request.experiment_id, None)


def set_tag(user: User, request: m.SetExperimentTag) -> Empty:
    return _change_tags(user, request.experiment_id, request.key, request.value)


def delete_tag(user: User, request: m.DeleteExperimentTag) -> Empty:
    return _change_tags(user, request.experiment_id, request.key, None)


def search(user: User, request: m.SearchExperiments) -> m.ExperimentsResponse:
    conditions = parse_filter(request.filter, ATTRIBUTES)
    orders = [parse_order(text, ATTRIBUTES) for text in request.order_by]
    start = decode_token(request.page_token)
    stage = {"ACTIVE_ONLY": ("active",), "DELETED_ONLY": ("deleted",)}.get(request.view_type)
    everything = _everything(user, "tag" in compared_kinds(conditions, orders))
    viewed = (one for one in everything if not stage or one.lifecycle_stage in stage)
    ids = select(viewed, conditions, orders, _value, lambda one: one.experiment_id)

    def read(some: Sequence[str]) -> dict[str, m.Experiment]:
        rows = _visible(user).in_bulk([UUID(one) for one in some if one != DEFAULT_ID])
        known = {pk.hex: as_message(project) for pk, project in rows.items()}
        return {**known, DEFAULT_ID: default_experiment(user)}

    wanted = ids[start : start + request.max_results]
    page, sent = read_page(wanted, read, lambda one: one, READ_TOGETHER)
    return m.ExperimentsResponse(
        experiments=page, next_page_token=next_token(start, sent, len(ids))
    )


def _everything(user: User, with_tags: bool) -> Iterator[m.Experiment]:
    """All that the user sees, the newest first; their tags only if the search compares them."""
    projects = _visible(user).order_by("-created_at", "pk")
    if not with_tags:
        projects = projects.defer("mlflow_experiment__tags")
    for project in projects.iterator(chunk_size=READ_TOGETHER):
        yield as_message(project, with_tags=with_tags)
    yield default_experiment(user)


def _value(experiment: m.Experiment, column: Column) -> str | float | None:
    if column.kind == "tag":
        tags = {tag.key: tag.value for tag in experiment.tags or ()}
        return tags.get(column.key)
    value: str | int = getattr(experiment, column.key)
    return value


def as_message(project: Project, *, with_tags: bool = True) -> m.Experiment:
    more = getattr(project, "mlflow_experiment", None)
    created = milliseconds(project.created_at)
    return m.Experiment(
        experiment_id=project.pk.hex,
        name=project.name,
        artifact_location=artifact_location(project.pk.hex),
        lifecycle_stage="deleted" if more and more.deleted_at else "active",
        last_update_time=created,
        creation_time=created,
        tags=_tags(more.tags) if more and with_tags else None,
    )


def default_experiment(user: User) -> m.Experiment:
    created = milliseconds(user.date_joined)
    return m.Experiment(
        experiment_id=DEFAULT_ID,
        name=DEFAULT_NAME,
        artifact_location=artifact_location(DEFAULT_ID),
        lifecycle_stage="active",
        last_update_time=created,
        creation_time=created,
    )


def _visible(user: User) -> QuerySet[Project]:
    rows = Project.objects.select_related("owner", "mlflow_experiment")
    return visible_to(rows, user)


def _required(user: User, experiment: str) -> Project:
    project = find_project(user, experiment)
    if project is None:
        raise invalid("The default experiment cannot be changed.")
    return project


def _checked_name(text: str) -> str:
    try:
        name = normalize_name(text)
    except TextError as error:
        raise invalid(f"Invalid experiment name: it {error}.") from error
    if not name or len(name) > MAX_NAME:
        raise invalid(f"Invalid experiment name: use 1 to {MAX_NAME} characters.")
    return name


def _set_deleted(user: User, experiment: str, at: datetime | None) -> Empty:
    project = _required(user, experiment)
    require_owner(project, user)
    MlflowExperiment.objects.update_or_create(project=project, defaults={"deleted_at": at})
    return EMPTY


def _change_tags(user: User, experiment: str, key: str, value: str | None) -> Empty:
    project = _required(user, experiment)
    with transaction.atomic():
        MlflowExperiment.objects.get_or_create(project=project)
        row = MlflowExperiment.objects.select_for_update().get(project=project)
        if value is not None:
            row.tags[key] = value
            require_room("tags", row.tags)
        elif row.tags.pop(key, None) is None:
            raise not_found(f"No tag with name: {key} in experiment with id {experiment}")
        row.save(update_fields=["tags"])
    return EMPTY


def _response(user: User, project: Project | None) -> m.ExperimentResponse:
    found = as_message(project) if project else default_experiment(user)
    return m.ExperimentResponse(experiment=found)


def _tags(tags: dict[str, str]) -> list[m.Tag]:
    return [m.Tag.model_construct(key=key, value=value) for key, value in tags.items()]
