"""Messages of logged models and of the registry (`service.proto`, `model_registry.proto`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from training.mlflow.messages import (
    MAX_ENTITIES,
    MAX_RESULTS,
    FileInfo,
    Items,
    Key,
    Listed,
    Message,
    Metric,
    Param,
    Search,
    Text,
)

MAX_REGISTRY_VALUE, MAX_NAME, MAX_ADDRESS = 100_000, 250, 10_000
Status = Literal[
    "LOGGED_MODEL_STATUS_UNSPECIFIED",
    "LOGGED_MODEL_PENDING",
    "LOGGED_MODEL_READY",
    "LOGGED_MODEL_UPLOAD_FAILED",
]
Name = Annotated[Text, Field(min_length=1, max_length=MAX_NAME)]


class ModelTag(Message):
    key: Key
    value: Annotated[Text, Field(max_length=MAX_REGISTRY_VALUE)] = ""


class LoggedModelInfo(Message):
    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str
    source_run_id: str | None
    tags: list[ModelTag] | None


class LoggedModelData(Message):
    params: list[Param] | None
    metrics: list[Metric] | None = None


class LoggedModelMessage(Message):
    info: LoggedModelInfo
    data: LoggedModelData


class LoggedModelResponse(Message):
    model: LoggedModelMessage


class CreateLoggedModel(Message):
    experiment_id: Text = "0"
    name: Annotated[Text, Field(max_length=500)] = ""
    model_type: Annotated[Text, Field(max_length=500)] = ""
    source_run_id: Text = ""
    params: Annotated[Items[Param], Field(max_length=1000)] = []
    tags: Annotated[Items[ModelTag], Field(max_length=1000)] = []


class LoggedModelId(Message):
    model_id: Text


class FinalizeLoggedModel(LoggedModelId):
    status: Status


class LogLoggedModelParams(LoggedModelId):
    params: Annotated[Items[Param], Field(max_length=1000)] = []


class SetLoggedModelTags(LoggedModelId):
    tags: Annotated[Items[ModelTag], Field(max_length=1000)] = []


class DeleteLoggedModelTag(LoggedModelId):
    tag_key: Text


class ListLoggedModelArtifacts(LoggedModelId):
    artifact_directory_path: Text = ""


class ModelArtifactsResponse(Message):
    root_uri: str
    files: list[FileInfo]


class ModelOrder(Message):
    field_name: Text
    ascending: bool = True


class SearchLoggedModels(Message):
    experiment_ids: Annotated[Listed[Text], Field(max_length=1000)] = []
    filter: Annotated[Text, Field(max_length=20_000)] = ""
    max_results: Annotated[int, Field(ge=1, le=MAX_RESULTS)] = 100
    order_by: Annotated[Items[ModelOrder], Field(max_length=20)] = []
    page_token: Text = ""


class LoggedModelsResponse(Message):
    models: list[LoggedModelMessage]
    next_page_token: str | None


class Alias(Message):
    alias: str
    version: str


class ModelVersionMessage(Message):
    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str
    description: str
    source: str
    run_id: str
    status: str
    run_link: str
    tags: list[ModelTag] | None
    aliases: list[str] | None


class RegisteredModelMessage(Message):
    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str | None
    latest_versions: list[ModelVersionMessage] | None
    tags: list[ModelTag] | None
    aliases: list[Alias] | None


class CreateRegisteredModel(Message):
    name: Name
    tags: Annotated[Items[ModelTag], Field(max_length=MAX_ENTITIES)] = []
    description: Annotated[Text, Field(max_length=20_000)] = ""


class ModelName(Message):
    name: Text


class RenameRegisteredModel(ModelName):
    new_name: Name


class UpdateRegisteredModel(ModelName):
    description: Annotated[Text, Field(max_length=20_000)] = ""


class SetModelTag(ModelTag, ModelName):
    pass


class DeleteModelTag(ModelName):
    key: Text


class AliasName(ModelName):
    alias: Annotated[Text, Field(min_length=1, max_length=255, pattern=r"^[\w\-]*$")]


class Version(ModelName):
    version: Annotated[int, Field(ge=0, lt=2**31)]


class SetAlias(AliasName, Version):
    pass


class CreateModelVersion(ModelName):
    source: Annotated[Text, Field(max_length=MAX_ADDRESS)]
    run_id: Text = ""
    run_link: Annotated[Text, Field(max_length=MAX_ADDRESS)] = ""
    description: Annotated[Text, Field(max_length=20_000)] = ""
    tags: Annotated[Items[ModelTag], Field(max_length=MAX_ENTITIES)] = []
    model_id: Text = ""


class UpdateModelVersion(Version):
    description: Annotated[Text, Field(max_length=20_000)] = ""


class SetVersionTag(ModelTag, Version):
    pass


class DeleteVersionTag(Version):
    key: Text


class SearchRegistered(Search):
    max_results: Annotated[int, Field(ge=1, le=200_000)] = 100


class RegisteredModelResponse(Message):
    registered_model: RegisteredModelMessage


class RegisteredModelsResponse(Message):
    registered_models: list[RegisteredModelMessage]
    next_page_token: str | None


class ModelVersionResponse(Message):
    model_version: ModelVersionMessage


class ModelVersionsResponse(Message):
    model_versions: list[ModelVersionMessage]
    next_page_token: str | None = None


class DownloadUriResponse(Message):
    artifact_uri: str
