"""Request bodies of the API: they validate requests and appear in the OpenAPI schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, FailFast, Field, create_model

from training.jobs.metadata import Metadata
from training.jobs.policy import QueuePolicy
from training.programs.measurements import COLUMNS, MAX_ID_LENGTH
from training.programs.registry import get_program
from training.text import Name, Text
from training.validation import extract

Request = TypeVar("Request", bound=BaseModel)


class JobPatch(Metadata):
    """Changes to a job's metadata; omitted fields stay as they are."""

    team: Name | None = Field(
        None,
        max_length=150,
        description="A team whose members can view and control it; null: not shared.",
    )


class JobChanges(JobPatch):
    """Changes to a job; omitted fields stay as they are."""

    priority: int = Field(
        0,
        ge=-100,
        le=100,
        description="Only for a queued or paused job. Higher-priority jobs start first. Only staff "
        "can use a priority above 0.",
    )


class _NewJob(QueuePolicy, JobPatch):
    project: Name | None = Field(
        None,
        max_length=200,
        description="ID or name of a project; a new name creates one. Default: your default "
        "project.",
    )

    init_from: UUID | None = Field(
        None,
        description="A job of the same program, or a model, whose weights the training starts "
        "from.",
    )

    def policy(self) -> QueuePolicy:
        return extract(QueuePolicy, self)


class JobRequest(_NewJob):
    """A training job of the built-in program: its dataset and hyperparameters."""

    dataset_id: UUID = Field(description="A ready dataset that you can use.")
    program: Literal["localizer"] = Field("localizer", description="The built-in program.")

    def parameters(self) -> BaseModel:
        """The hyperparameters, validated by the program."""
        return extract(get_program().parameters, self)


class ProgramJobRequest(_NewJob):
    """A training job of an installed program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    program: str = Field(max_length=100, description="Its name, as in GET /programs.")
    # JsonValue instead of Any would become an empty component of the OpenAPI schema.
    parameters: dict[str, Any] = Field(
        {}, description="Parameters of the program, as in GET /programs/{name}."
    )


class ProjectRequest(BaseModel):
    """A group of jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(min_length=1, max_length=200, description="Unique among your projects.")
    description: Text = Field("", max_length=20_000)
    team: Name | None = Field(
        None, max_length=150, description="A team whose members can view it; null: not shared."
    )


class ProjectPatch(ProjectRequest):
    """Changes to a project; omitted fields stay as they are."""

    name: Name = Field("", min_length=1, max_length=200, description="Unique among your projects.")


class DatasetRequest(BaseModel):
    """A synthetic dataset to generate."""

    name: Name = Field(min_length=1, max_length=200, description="Shown in lists.")

    def options(self) -> BaseModel:
        options: BaseModel = extract(get_program().dataset_format.generation_options, self)
        return options


def _flat(name: str, fields: type[BaseModel], request: type[Request]) -> type[Request]:
    """The request with the program's fields at the top level, as in the API."""
    combined = create_model(name, __base__=(fields, request), __doc__=request.__doc__)
    return cast("type[Request]", combined)


CreateJob = _flat("CreateJob", get_program().parameters, JobRequest)
CreateDataset = _flat(
    "CreateDataset", get_program().dataset_format.generation_options, DatasetRequest
)


class DatasetPatch(BaseModel):
    """Changes to a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    team: Name | None = Field(
        max_length=150, description="A team whose members can use it; null: not shared."
    )


def _measured(name: str, description: str) -> Any:
    """A field with the bounds of the column in a table."""
    column = COLUMNS[name]
    return Field(None, ge=column.minimum, le=column.maximum, description=description)


class Measurement(BaseModel):
    """A row of measurements.csv, with at least one of rssi_dbm, snr_db and toa_ns."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sample_id: Name | None = Field(
        None,
        max_length=MAX_ID_LENGTH,
        description="The transmission; omit if all rows belong to one.",
    )
    receiver_id: Name = Field(
        min_length=1,
        max_length=MAX_ID_LENGTH,
        description="A receiver the model was trained with.",
    )
    rssi_dbm: float | None = _measured("rssi_dbm", "Received signal strength.")
    snr_db: float | None = _measured("snr_db", "Signal-to-noise ratio.")
    toa_ns: float | None = _measured(
        "toa_ns",
        "Time of arrival on a clock shared by all receivers, such as nanoseconds since 1970; every "
        "digit counts.",
    )
    rx_lat: float | None = _measured("rx_lat", "Position of a mobile receiver.")
    rx_lon: float | None = _measured("rx_lon", "Position of a mobile receiver.")
    rx_alt_m: float | None = _measured(
        "rx_alt_m", "Altitude of a mobile receiver, meters above sea level."
    )


class Predict(BaseModel):
    """Measurements of one or more transmissions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Of 200,000 invalid rows the errors would take hundreds of megabytes.
    measurements: Annotated[list[Measurement], FailFast()] = Field(
        min_length=1, max_length=200_000, description="Rows as in measurements.csv."
    )
    out_of_service: list[Name] = Field(
        [],
        max_length=1000,
        description="Receivers that were not listening. Other receivers without a row count as "
        "having received nothing.",
    )
