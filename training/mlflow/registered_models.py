"""The registry: names, versions and aliases of models, of one user each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from training.mlflow import model_messages as mm
from training.mlflow.columns import require_room
from training.mlflow.errors import MlflowError, invalid, not_found
from training.mlflow.experiments import milliseconds
from training.mlflow.filter_grammar import Attributes, Column, parse_filter, parse_order
from training.mlflow.logged_models import artifact_uri, changed_model, find_model
from training.mlflow.operations import EMPTY, Empty
from training.mlflow.row_search import RowSearch
from training.models import ModelVersion, RegisteredModel

# A tag that MLflow's own server sets too.
VERSIONS_TAG = "mlflow.modelVersions"
# Models without this tag are not prompts: the client adds a filter that excludes prompts.
_IS_PROMPT = "mlflow.prompt.is_prompt"
ATTRIBUTES = Attributes(
    numeric=frozenset({"creation_timestamp", "last_updated_timestamp", "timestamp"}),
    textual=frozenset({"name"}),
)
VERSION_ATTRIBUTES = Attributes(
    numeric=frozenset({"version_number", "creation_timestamp", "last_updated_timestamp"}),
    textual=frozenset({"name", "run_id", "source_path"}),
    in_lists=frozenset({"name", "run_id"}),
)
MAX_MODELS = 10_000  # of a user
MAX_VERSIONS = 10_000  # of a model
MAX_LISTED = 1000  # versions in the tag of a logged model
_SOURCES = ("models:/", "runs:/", "mlflow-artifacts:/")


def create(user: User, request: mm.CreateRegisteredModel) -> mm.RegisteredModelResponse:
    if RegisteredModel.objects.filter(owner=user).count() >= MAX_MODELS:
        raise invalid(f"A user has at most {MAX_MODELS:,} registered models; delete some.")
    tags = {tag.key: tag.value for tag in request.tags}
    require_room("tags", tags)
    try:
        with transaction.atomic():
            model = RegisteredModel.objects.create(
                owner=user,
                name=request.name,
                description=request.description,
                tags=tags,
                updated_at=timezone.now(),
            )
    except IntegrityError:
        raise _exists(request.name) from None
    return _response(model)


def get(user: User, request: mm.ModelName) -> mm.RegisteredModelResponse:
    return _response(_find(user, request.name))


def rename(user: User, request: mm.RenameRegisteredModel) -> mm.RegisteredModelResponse:
    try:
        with _changed(user, request.name) as model:
            model.name = request.new_name
    except IntegrityError:
        raise _exists(request.new_name) from None
    return _response(model)


def update(user: User, request: mm.UpdateRegisteredModel) -> mm.RegisteredModelResponse:
    with _changed(user, request.name) as model:
        model.description = request.description
    return _response(model)


def delete(user: User, request: mm.ModelName) -> Empty:
    _find(user, request.name).delete()
    return EMPTY


def search(user: User, request: mm.SearchRegistered) -> mm.RegisteredModelsResponse:
    conditions = parse_filter(request.filter, ATTRIBUTES)
    orders = [parse_order(text, ATTRIBUTES) for text in request.order_by]
    page, token = MODEL_SEARCH.find(
        _models(user), conditions, orders, request.page_token, request.max_results
    )
    return mm.RegisteredModelsResponse(registered_models=page, next_page_token=token)


def latest_versions(user: User, request: mm.ModelName) -> mm.ModelVersionsResponse:
    return mm.ModelVersionsResponse(model_versions=_latest(_find(user, request.name)) or [])


def set_tag(user: User, request: mm.SetModelTag) -> Empty:
    with _changed(user, request.name) as model:
        model.tags[request.key] = request.value
        require_room("tags", model.tags)
    return EMPTY


def delete_tag(user: User, request: mm.DeleteModelTag) -> Empty:
    with _changed(user, request.name) as model:
        model.tags.pop(request.key, None)
    return EMPTY


def set_alias(user: User, request: mm.SetAlias) -> Empty:
    _find_version(user, request)
    with _changed(user, request.name) as model:
        model.aliases[request.alias] = request.version
        require_room("aliases", model.aliases)
    return EMPTY


def delete_alias(user: User, request: mm.AliasName) -> Empty:
    with _changed(user, request.name) as model:
        model.aliases.pop(request.alias, None)
    return EMPTY


def get_by_alias(user: User, request: mm.AliasName) -> mm.ModelVersionResponse:
    version = _find(user, request.name).aliases.get(request.alias)
    if version is None:
        raise invalid(f"Registered model alias {request.alias} not found.")
    return _version_response(user, mm.Version(name=request.name, version=version))


def create_version(user: User, request: mm.CreateModelVersion) -> mm.ModelVersionResponse:
    if not request.source.startswith(_SOURCES):
        raise invalid(
            f"Invalid model version source: {request.source[:200]!r}. Use one of {_SOURCES}."
        )
    logged = find_model(user, request.model_id) if request.model_id else None
    run_id = request.run_id
    if logged is not None and not run_id and not logged.without_run:
        run_id = logged.job_id.hex
    tags = {tag.key: tag.value for tag in request.tags}
    require_room("tags", tags)
    with _changed(user, request.name) as model:
        if model.versions.count() >= MAX_VERSIONS:
            raise invalid(f"A model has at most {MAX_VERSIONS:,} versions; delete some.")
        newest = model.versions.order_by("-version").values_list("version", flat=True).first()
        version = ModelVersion.objects.create(
            registered=model,
            version=(newest or 0) + 1,
            source=request.source,
            run_id=run_id[:40],
            run_link=request.run_link,
            logged_model_id=request.model_id,
            description=request.description,
            tags=tags,
            updated_at=timezone.now(),
        )
    if logged is not None:
        with changed_model(user, logged.pk) as changed:
            changed.tags[VERSIONS_TAG] = _with_version(changed.tags.get(VERSIONS_TAG, ""), version)
    return mm.ModelVersionResponse(model_version=version_message(version))


def get_version(user: User, request: mm.Version) -> mm.ModelVersionResponse:
    return _version_response(user, request)


def update_version(user: User, request: mm.UpdateModelVersion) -> mm.ModelVersionResponse:
    with _changed_version(user, request) as version:
        version.description = request.description
    return _version_response(user, request)


def delete_version(user: User, request: mm.Version) -> Empty:
    _find_version(user, request).delete()
    with _changed(user, request.name) as model:
        model.aliases = {
            alias: version for alias, version in model.aliases.items() if version != request.version
        }
    return EMPTY


def search_versions(user: User, request: mm.SearchRegistered) -> mm.ModelVersionsResponse:
    conditions = parse_filter(request.filter, VERSION_ATTRIBUTES)
    orders = [parse_order(text, VERSION_ATTRIBUTES) for text in request.order_by]
    rows = ModelVersion.objects.filter(registered__in=_models(user)).select_related("registered")
    newest_first = rows.order_by("-updated_at", "registered__name", "-version")
    page, token = VERSION_SEARCH.find(
        newest_first, conditions, orders, request.page_token, request.max_results
    )
    return mm.ModelVersionsResponse(model_versions=page, next_page_token=token)


def download_uri(user: User, request: mm.Version) -> mm.DownloadUriResponse:
    version = _find_version(user, request)
    if version.logged_model_id:
        uri = artifact_uri(find_model(user, version.logged_model_id))
        return mm.DownloadUriResponse(artifact_uri=uri)
    return mm.DownloadUriResponse(artifact_uri=version.source)


def set_version_tag(user: User, request: mm.SetVersionTag) -> Empty:
    with _changed_version(user, request) as version:
        version.tags[request.key] = request.value
        require_room("tags", version.tags)
    return EMPTY


def delete_version_tag(user: User, request: mm.DeleteVersionTag) -> Empty:
    with _changed_version(user, request) as version:
        version.tags.pop(request.key, None)
    return EMPTY


def as_message(model: RegisteredModel) -> mm.RegisteredModelMessage:
    aliases = [mm.Alias(alias=name, version=str(one)) for name, one in model.aliases.items()]
    return mm.RegisteredModelMessage(
        name=model.name,
        creation_timestamp=milliseconds(model.created_at),
        last_updated_timestamp=milliseconds(model.updated_at),
        description=model.description or None,
        latest_versions=_latest(model),
        tags=_tags(model.tags),
        aliases=aliases or None,
    )


def version_message(version: ModelVersion) -> mm.ModelVersionMessage:
    model = version.registered
    aliases = [alias for alias, one in model.aliases.items() if one == version.version]
    return mm.ModelVersionMessage(
        name=model.name,
        version=str(version.version),
        creation_timestamp=milliseconds(version.created_at),
        last_updated_timestamp=milliseconds(version.updated_at),
        current_stage="None",
        description=version.description,
        source=version.source,
        run_id=version.run_id,
        status="READY",
        run_link=version.run_link,
        tags=_tags(version.tags),
        aliases=aliases or None,
    )


def _models(user: User) -> QuerySet[RegisteredModel]:
    rows = RegisteredModel.objects.all()
    return rows if user.is_staff else rows.filter(owner=user)


def _find(user: User, name: str) -> RegisteredModel:
    """The user's own model of that name; for staff, else that of another user."""
    named = sorted(_models(user).filter(name=name), key=lambda one: one.owner_id != user.pk)
    if not named:
        raise not_found(f"Registered Model with name={name} not found")
    return named[0]


def _find_version(user: User, request: mm.Version) -> ModelVersion:
    rows = _find(user, request.name).versions.select_related("registered")
    found = rows.filter(version=request.version).first()
    if found is None:
        raise not_found(f"Model Version (name={request.name}, version={request.version}) not found")
    return found


@contextmanager
def _changed(user: User, name: str) -> Iterator[RegisteredModel]:
    """The model, locked, and saved at the end."""
    with transaction.atomic():
        model = RegisteredModel.objects.select_for_update().get(pk=_find(user, name).pk)
        yield model
        model.updated_at = timezone.now()
        model.save()


@contextmanager
def _changed_version(user: User, request: mm.Version) -> Iterator[ModelVersion]:
    with transaction.atomic():
        pk = _find_version(user, request).pk
        version = ModelVersion.objects.select_for_update().get(pk=pk)
        yield version
        version.updated_at = timezone.now()
        version.save()


def _exists(name: str) -> MlflowError:
    return MlflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")


def _response(model: RegisteredModel) -> mm.RegisteredModelResponse:
    return mm.RegisteredModelResponse(registered_model=as_message(model))


def _version_response(user: User, request: mm.Version) -> mm.ModelVersionResponse:
    return mm.ModelVersionResponse(model_version=version_message(_find_version(user, request)))


def _latest(model: RegisteredModel) -> list[mm.ModelVersionMessage] | None:
    """The newest version; there is one stage."""
    newest = model.versions.select_related("registered").order_by("-version").first()
    return [version_message(newest)] if newest else None


def _tags(tags: dict[str, str]) -> list[mm.ModelTag] | None:
    return [mm.ModelTag(key=key, value=value) for key, value in tags.items()] or None


def _with_version(text: str, version: ModelVersion) -> str:
    try:
        known = json.loads(text or "[]")
    except (ValueError, RecursionError):
        known = []
    # Clients can set the tag to anything.
    listed = [one for one in known if _is_flat(one)] if isinstance(known, list) else []
    listed = listed[1 - MAX_LISTED :]
    return json.dumps([*listed, {"name": version.registered.name, "version": version.version}])


def _is_flat(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str | int) for one in value.values())


def _value(model: RegisteredModel, column: Column) -> str | float | None:
    if column.kind == "tag":
        return _tag(model.tags, column.key)
    if column.key == "name":
        return model.name
    return milliseconds(
        model.created_at if column.key == "creation_timestamp" else model.updated_at
    )


def _tag(tags: dict[str, str], key: str) -> str | None:
    return tags.get(key, "false" if key == _IS_PROMPT else None)


def _version_value(version: ModelVersion, column: Column) -> str | float | None:
    if column.kind == "tag":
        return _tag(version.tags, column.key)
    match column.key:
        case "name":
            return version.registered.name
        case "run_id":
            return version.run_id
        case "source_path":
            return version.source
        case "version_number":
            return version.version
        case "creation_timestamp":
            return milliseconds(version.created_at)
    return milliseconds(version.updated_at)


MODEL_SEARCH = RowSearch(_value, as_message, {"tags": "tag", "aliases": None, "description": None})
VERSION_SEARCH = RowSearch(
    _version_value,
    version_message,
    {
        "tags": "tag", "description": None, "registered__tags": None, "registered__aliases": None,
        "registered__description": None,
    },
)  # fmt: skip
