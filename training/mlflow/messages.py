"""Messages of experiments, runs and metrics, as JSON of MLflow's `service.proto`.

Unknown fields are ignored; fields that are None are omitted.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    model_validator,
)

from heimdall_sdk.text import check_characters

Item = TypeVar("Item")
# Limits of MLflow (`mlflow/utils/validation.py`).
MAX_KEY, MAX_PARAM_VALUE, MAX_TAG_VALUE = 250, 6000, 8000
MAX_METRICS, MAX_PARAMS, MAX_ENTITIES, MAX_RESULTS = 1000, 100, 1000, 50_000
MAX_EXPERIMENT_TAG_VALUE, MAX_DATASETS = 20_000, 1000
DEFAULT_RESULTS = 1000
# Limits of MLflow's server (`mlflow/server/handlers.py`), and the page size of its client.
MAX_POINTS_OF_RUN, MAX_POINTS = 2500, 25_000


_NAME = re.compile(r"[/\w.\- :]*")


def _check_characters(text: str) -> str:
    check_characters(text)
    return text


def _check_name(name: str) -> str:
    """Validate like MLflow, whose file store has a file for each name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            "names may only contain alphanumerics, underscores (_), dashes (-), periods (.), "
            "spaces ( ), colons (:) and slashes (/)"
        )
    # A name without these is already a normalized path; most names are.
    if "/" in name or name.startswith("."):
        path = posixpath.normpath(name)
        if path != name or path == "." or path.startswith(("..", "/")):
            raise ValueError("names that are paths have to be resolved and relative")
    return name


def _as_list(value: object) -> object:
    """Accept a single value: a query string cannot express a list of one item."""
    return [value] if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_check_characters)]
Key = Annotated[Text, Field(min_length=1, max_length=MAX_KEY)]
Name = Annotated[Key, AfterValidator(_check_name)]  # of a metric, parameter or tag
# MLflow's server cuts values that are too long.
ParamValue = Annotated[Text, AfterValidator(lambda text: text[:MAX_PARAM_VALUE])]
TagValue = Annotated[Text, AfterValidator(lambda text: text[:MAX_TAG_VALUE])]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# Collecting the errors of all items would take many times the memory of the body.
Items = Annotated[list[Item], FailFast()]
Listed = Annotated[Items[Item], BeforeValidator(_as_list)]
RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
ViewType = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]
LifecycleStage = Literal["active", "deleted"]


class Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=(),
                              ser_json_inf_nan="strings")  # fmt: skip


class Tag(Message):
    key: Name
    value: TagValue = ""


class Param(Message):
    key: Name
    value: ParamValue = ""


class Metric(Message):
    """NaN and infinities are strings in JSON."""

    key: Name
    value: float
    timestamp: Annotated[Int64, Field(ge=0)]
    step: Int64 = 0


class MetricWithRunId(Metric):
    run_id: str


class Experiment(Message):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: LifecycleStage
    last_update_time: int
    creation_time: int
    tags: list[Tag] | None = None


class RunInfo(Message):
    run_uuid: str
    experiment_id: str
    run_name: str
    user_id: str
    status: RunStatus
    start_time: int
    end_time: int | None
    artifact_uri: str
    lifecycle_stage: LifecycleStage
    run_id: str


class RunData(Message):
    metrics: list[Metric]
    params: list[Param]
    tags: list[Tag]


class StoredTag(Message):
    """A tag of an input, with its own length limit."""

    key: Annotated[Text, Field(min_length=1, max_length=255)]
    value: Annotated[Text, Field(max_length=500)] = ""


class Dataset(Message):
    model_config = ConfigDict(extra="ignore", frozen=True, serialize_by_alias=True)

    name: Annotated[Text, Field(min_length=1, max_length=500)]
    digest: Annotated[Text, Field(min_length=1, max_length=36)]
    source_type: Annotated[Text, Field(max_length=500)]
    source: Annotated[Text, Field(max_length=65_535)]
    schema_: Annotated[Text, Field(max_length=1_048_575)] | None = Field(None, alias="schema")
    profile: Annotated[Text, Field(max_length=1_048_575)] | None = None


class DatasetInput(Message):
    tags: Annotated[Items[StoredTag], Field(max_length=MAX_PARAMS)] = []
    dataset: Dataset


class ModelInput(Message):
    model_id: Key


class ModelOutput(Message):
    model_id: Key
    step: Int64 = 0


class RunInputs(Message):
    dataset_inputs: list[DatasetInput] | None = None
    model_inputs: list[ModelInput] | None = None


class RunOutputs(Message):
    model_outputs: list[ModelOutput] | None = None


class Run(Message):
    info: RunInfo
    data: RunData
    inputs: RunInputs
    outputs: RunOutputs


class CreateExperiment(Message):
    name: Annotated[Text, Field(min_length=1)]
    artifact_location: Text = ""
    tags: Annotated[Items[Tag], Field(max_length=MAX_ENTITIES)] = []


class ExperimentId(Message):
    experiment_id: Text


class GetExperimentByName(Message):
    experiment_name: Text


class UpdateExperiment(ExperimentId):
    new_name: Annotated[Text, Field(min_length=1)]


class SetExperimentTag(ExperimentId):
    key: Key
    value: Annotated[Text, Field(max_length=MAX_EXPERIMENT_TAG_VALUE)] = ""


class DeleteExperimentTag(ExperimentId):
    key: Key


class Search(Message):
    max_results: Annotated[int, Field(ge=1, le=MAX_RESULTS)] = DEFAULT_RESULTS
    page_token: Text = ""
    filter: Annotated[Text, Field(max_length=20_000)] = ""
    order_by: Annotated[Listed[Text], Field(max_length=20)] = []


class SearchExperiments(Search):
    view_type: ViewType = "ACTIVE_ONLY"


class CreateExperimentResponse(Message):
    experiment_id: str


class ExperimentResponse(Message):
    experiment: Experiment


class ExperimentsResponse(Message):
    experiments: list[Experiment]
    next_page_token: str | None


class CreateRun(Message):
    experiment_id: Text = "0"
    user_id: Annotated[Text, Field(max_length=256)] = ""
    run_name: Text = ""
    start_time: Int64 | None = None
    tags: Annotated[Items[Tag], Field(max_length=MAX_ENTITIES)] = []


class RunId(Message):
    """`run_uuid` is the name that earlier versions use."""

    run_id: Annotated[Text, Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _accept_uuid(cls, found: object) -> object:
        if isinstance(found, dict) and not found.get("run_id") and found.get("run_uuid"):
            return {**found, "run_id": found["run_uuid"]}
        return found


class UpdateRun(RunId):
    status: RunStatus | None = None
    end_time: Int64 | None = None
    run_name: Text = ""


class LogMetric(Metric, RunId):
    pass


class LogParam(Param, RunId):
    pass


class SetTag(Tag, RunId):
    pass


class DeleteTag(RunId):
    key: Text


class LogBatch(RunId):
    metrics: Annotated[Items[Metric], Field(max_length=MAX_METRICS)] = []
    params: Annotated[Items[Param], Field(max_length=MAX_PARAMS)] = []
    tags: Annotated[Items[Tag], Field(max_length=MAX_PARAMS)] = []

    @model_validator(mode="after")
    def _check_total(self) -> LogBatch:
        total = len(self.metrics) + len(self.params) + len(self.tags)
        if total > MAX_ENTITIES:
            raise ValueError(
                "A batch logging request can contain at most "
                f"{MAX_ENTITIES} metrics, params, and tags. Got {total}"
            )
        counts = Counter(param.key for param in self.params)
        if repeated := [key for key, count in counts.items() if count > 1]:
            raise ValueError(
                f"Duplicate parameter keys have been submitted: {repeated}. Please ensure "
                "the request contains only one param value per param key"
            )
        return self


class LogInputs(RunId):
    datasets: Annotated[Items[DatasetInput], Field(max_length=MAX_DATASETS)] = []
    models: Annotated[Items[ModelInput], Field(max_length=MAX_DATASETS)] = []


class LogOutputs(RunId):
    models: Annotated[Items[ModelOutput], Field(max_length=MAX_DATASETS)] = []


class RunResponse(Message):
    run: Run


class RunInfoResponse(Message):
    run_info: RunInfo


class SearchRuns(Search):
    experiment_ids: Annotated[Listed[Text], Field(max_length=1000)] = []
    run_view_type: ViewType = "ACTIVE_ONLY"


class RunsResponse(Message):
    runs: list[Run]
    next_page_token: str | None


class GetMetricHistory(RunId):
    metric_key: Text
    page_token: Text = ""
    max_results: Annotated[int, Field(ge=1)] = MAX_POINTS


class MetricHistoryResponse(Message):
    metrics: list[Metric]
    next_page_token: str | None = None


class GetMetricHistoryBulk(Message):
    run_ids: Annotated[Listed[Text], Field(min_length=1, max_length=100)]
    metric_key: Text
    start_step: int | None = None
    end_step: int | None = None
    max_results: Annotated[int, Field(ge=1, le=MAX_POINTS_OF_RUN)] = MAX_POINTS_OF_RUN


class MetricHistoryBulkResponse(Message):
    metrics: list[MetricWithRunId]


class FileInfo(Message):
    path: str
    is_dir: bool
    file_size: int | None


class ListFolder(Message):
    path: Text = ""


class FilesResponse(Message):
    files: list[FileInfo]


class ListArtifacts(RunId):
    path: Text = ""


class ArtifactsResponse(Message):
    root_uri: str
    files: list[FileInfo]
