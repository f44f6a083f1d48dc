"""Logged models: what `log_model` writes. Their files are artifacts of the run's job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from training.accounts.permissions import require_owner
from training.mlflow import model_messages as mm
from training.mlflow import runs
from training.mlflow.columns import require_room
from training.mlflow.errors import invalid, not_found
from training.mlflow.experiments import artifact_location, experiment_id, milliseconds
from training.mlflow.filter_grammar import (
    Attributes,
    Column,
    Order,
    parse_filter,
    parse_order,
)
from training.mlflow.messages import CreateRun, Param, UpdateRun
from training.mlflow.operations import EMPTY, Empty
from training.mlflow.row_search import RowSearch
from training.mlflow.run_rows import in_experiments, visible_runs, writable_run
from training.models import LoggedModel

ATTRIBUTES = Attributes(
    numeric=frozenset({"creation_timestamp", "creation_time", "last_updated_timestamp"}),
    textual=frozenset({"name", "model_id", "model_type", "status", "source_run_id"}),
    kinds=frozenset({"attribute", "metric", "param", "tag"}),
)
MAX_MODELS = 10_000  # of a user
# In filters, as MLflow writes them.
_STATUS = {"LOGGED_MODEL_PENDING": "PENDING", "LOGGED_MODEL_READY": "READY",
           "LOGGED_MODEL_UPLOAD_FAILED": "FAILED"}  # fmt: skip


def create(user: User, request: mm.CreateLoggedModel) -> mm.LoggedModelResponse:
    with transaction.atomic():
        run_id = request.source_run_id or _new_run(user, request)
        job = writable_run(user, run_id)
        if LoggedModel.objects.filter(job__owner=job.owner_id).count() >= MAX_MODELS:
            raise invalid(f"A user has at most {MAX_MODELS:,} logged models; delete some.")
        model = LoggedModel(
            job=job,
            without_run=not request.source_run_id,
            model_type=request.model_type,
            status="LOGGED_MODEL_PENDING",
            params={param.key: param.value for param in request.params},
            tags={tag.key: tag.value for tag in request.tags},
            updated_at=timezone.now(),
        )
        require_room("parameters", model.params)
        require_room("tags", model.tags)
        model.name = request.name or f"model-{model.pk[2:10]}"
        model.save(force_insert=True)
    return _response(model)


def get(user: User, request: mm.LoggedModelId) -> mm.LoggedModelResponse:
    return _response(find_model(user, request.model_id))


def finalize(user: User, request: mm.FinalizeLoggedModel) -> mm.LoggedModelResponse:
    with changed_model(user, request.model_id) as model:
        model.status = request.status
    if model.without_run:
        status = "FINISHED" if request.status == "LOGGED_MODEL_READY" else "FAILED"
        runs.update(user, UpdateRun(run_id=model.job_id.hex, status=status))
    return _response(model)


def delete(user: User, request: mm.LoggedModelId) -> Empty:
    """The files remain artifacts of the job until it is deleted."""
    model = find_model(user, request.model_id)
    require_owner(model.job, user)
    model.delete()
    return EMPTY


def log_params(user: User, request: mm.LogLoggedModelParams) -> Empty:
    with changed_model(user, request.model_id) as model:
        model.params.update({param.key: param.value for param in request.params})
        require_room("parameters", model.params)
    return EMPTY


def set_tags(user: User, request: mm.SetLoggedModelTags) -> mm.LoggedModelResponse:
    with changed_model(user, request.model_id) as model:
        model.tags.update({tag.key: tag.value for tag in request.tags})
        require_room("tags", model.tags)
    return _response(model)


def delete_tag(user: User, request: mm.DeleteLoggedModelTag) -> Empty:
    with changed_model(user, request.model_id) as model:
        if model.tags.pop(request.tag_key, None) is None:
            raise not_found(
                f"No tag with key {request.tag_key!r} in logged model {request.model_id!r}."
            )
    return EMPTY


def search(user: User, request: mm.SearchLoggedModels) -> mm.LoggedModelsResponse:
    conditions = parse_filter(request.filter, ATTRIBUTES)
    orders = [_order(one) for one in request.order_by]
    jobs = in_experiments(visible_runs(user), user, request.experiment_ids)
    rows = LoggedModel.objects.select_related("job").filter(job__in=jobs.values("pk"))
    for one in conditions:
        if one.column == Column("attribute", "name") and one.operator == "=":
            rows = rows.filter(name=one.value)  # the most common filter, by the database
    page, token = SEARCH.find(rows, conditions, orders, request.page_token, request.max_results)
    return mm.LoggedModelsResponse(models=page, next_page_token=token)


def find_model(user: User, model_id: str) -> LoggedModel:
    """A model of a run that the user can see; raises MlflowError."""
    found = _visible(user).filter(pk=model_id[:40]).first()
    if found is None or found.pk != model_id:
        raise not_found(f"Logged model with ID '{model_id}' not found.")
    return found


@contextmanager
def changed_model(user: User, model_id: str) -> Iterator[LoggedModel]:
    """The model, locked, and saved at the end."""
    with transaction.atomic():
        find_model(user, model_id)
        model = LoggedModel.objects.select_for_update().get(pk=model_id)
        yield model
        model.updated_at = timezone.now()
        model.save()


def artifact_uri(model: LoggedModel) -> str:
    return f"{artifact_location(experiment_id(model.job))}/models/{model.pk}/artifacts"


def as_message(model: LoggedModel) -> mm.LoggedModelMessage:
    tags = [mm.ModelTag(key=key, value=value) for key, value in sorted(model.tags.items())]
    params = [Param(key=key, value=value) for key, value in model.params.items()]
    return mm.LoggedModelMessage(
        info=mm.LoggedModelInfo(
            model_id=model.pk,
            experiment_id=experiment_id(model.job),
            name=model.name,
            creation_timestamp_ms=milliseconds(model.created_at),
            last_updated_timestamp_ms=milliseconds(model.updated_at),
            artifact_uri=artifact_uri(model),
            status=model.status,
            model_type=model.model_type,
            source_run_id=None if model.without_run else model.job_id.hex,
            tags=tags or None,
        ),
        data=mm.LoggedModelData(params=params or None),
    )


def _visible(user: User) -> QuerySet[LoggedModel]:
    rows = LoggedModel.objects.select_related("job")
    return rows.filter(job__in=visible_runs(user).values("pk"))


def _response(model: LoggedModel) -> mm.LoggedModelResponse:
    return mm.LoggedModelResponse(model=as_message(model))


def _new_run(user: User, request: mm.CreateLoggedModel) -> str:
    """A job for a model that no run logs."""
    new = CreateRun(
        experiment_id=request.experiment_id, run_name=request.name or "model", user_id=user.username
    )
    return runs.create(user, new).run.info.run_id


def _order(order: mm.ModelOrder) -> Order:
    return Order(parse_order(order.field_name, ATTRIBUTES).column, not order.ascending)


def _value(model: LoggedModel, column: Column) -> str | float | None:
    if column.kind in ("tag", "param"):
        values: dict[str, str] = model.tags if column.kind == "tag" else model.params
        return values.get(column.key)
    match column.key if column.kind == "attribute" else "":
        case "creation_timestamp" | "creation_time":
            return milliseconds(model.created_at)
        case "last_updated_timestamp":
            return milliseconds(model.updated_at)
        case "model_id":
            return str(model.pk)
        case "source_run_id":
            return None if model.without_run else model.job_id.hex
        case "status":
            return _STATUS.get(model.status, model.status)
        case "name" | "model_type":
            return str(getattr(model, column.key))
    return None


SEARCH = RowSearch(_value, as_message, {"tags": "tag", "params": "param"})
