"""Request bodies of the API: they validate requests and appear in the OpenAPI schema."""

from __future__ import annotations

from typing import Any, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model

from training.jobs.metadata import Metadata
from training.jobs.policy import QueuePolicy
from training.programs.registry import get_program
from training.validation import extract

Request = TypeVar("Request", bound=BaseModel)


class JobPatch(Metadata):
    """Changes to a job's metadata; omitted fields stay as they are."""

    team: str | None = Field(
        None,
        max_length=150,
        description="A team whose members can view and control it; null: not shared.",
    )


class JobRequest(QueuePolicy, JobPatch):
    """A training job: its dataset and hyperparameters."""

    dataset_id: UUID = Field(description="A ready dataset that you can use.")

    def parameters(self) -> BaseModel:
        """The hyperparameters, validated by the program."""
        return extract(get_program().parameters, self)

    def policy(self) -> QueuePolicy:
        return extract(QueuePolicy, self)

    def metadata(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "notes", "tags")}


class DatasetRequest(BaseModel):
    """A synthetic dataset to generate."""

    name: str = Field(min_length=1, max_length=200, description="Shown in lists.")

    def options(self) -> BaseModel:
        options: BaseModel = extract(get_program().dataset_format.generation_options, self)
        return options


def _flat(name: str, fields: type[BaseModel], request: type[Request]) -> type[Request]:
    """The request with the program's fields beside its own, as the API takes them."""
    combined = create_model(name, __base__=(fields, request), __doc__=request.__doc__)
    return cast("type[Request]", combined)


CreateJob = _flat("CreateJob", get_program().parameters, JobRequest)
CreateDataset = _flat(
    "CreateDataset", get_program().dataset_format.generation_options, DatasetRequest
)


class DatasetPatch(BaseModel):
    """Changes to a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    team: str | None = Field(
        max_length=150, description="A team whose members can use it; null: not shared."
    )


class Measurement(BaseModel):
    """A row of measurements.csv, with at least one of rssi_dbm, snr_db and toa_ns."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sample_id: str | None = Field(
        None, max_length=200, description="The transmission; omit if all rows belong to one."
    )
    receiver_id: str = Field(
        min_length=1, max_length=200, description="A receiver the model was trained with."
    )
    rssi_dbm: float | None = Field(None, description="Received signal strength.")
    snr_db: float | None = Field(None, description="Signal-to-noise ratio.")
    toa_ns: float | None = Field(
        None, description="Time of arrival on a clock shared by all receivers."
    )
    rx_lat: float | None = Field(None, ge=-90, le=90, description="Position of a mobile receiver.")
    rx_lon: float | None = Field(
        None, ge=-180, le=180, description="Position of a mobile receiver."
    )
    rx_alt_m: float | None = Field(
        None, ge=-500, le=9000, description="Altitude of a mobile receiver, metres above sea level."
    )


class Predict(BaseModel):
    """Measurements of one or more transmissions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measurements: list[Measurement] = Field(
        min_length=1, max_length=200_000, description="Rows as in measurements.csv."
    )
    out_of_service: list[str] = Field(
        [],
        max_length=1000,
        description="Receivers that were not listening. Other receivers without a row count as "
        "having received nothing.",
    )
