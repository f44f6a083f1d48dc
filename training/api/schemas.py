"""Request bodies of the API: they validate requests and appear in the OpenAPI schema."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from training.jobs.metadata import Metadata
from training.localization.config import GenerateConfig, TrainConfig


class JobPatch(Metadata):
    """Changes to a job's metadata; omitted fields stay as they are."""

    team: str | None = Field(
        None,
        max_length=150,
        description="A team whose members can view and control it; null: not shared.",
    )


class CreateJob(TrainConfig, JobPatch):
    """A training job: its dataset and hyper-parameters."""

    dataset_id: UUID = Field(description="A ready dataset that you can use.")

    def config(self) -> TrainConfig:
        return TrainConfig(**_fields_of(self, TrainConfig))

    def metadata(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "notes", "tags")}


class DatasetPatch(BaseModel):
    """Changes to a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    team: str | None = Field(
        max_length=150, description="A team whose members can use it; null: not shared."
    )


class CreateDataset(GenerateConfig):
    """A synthetic dataset to generate."""

    name: str = Field(min_length=1, max_length=200, description="Shown in lists.")

    def config(self) -> GenerateConfig:
        return GenerateConfig.model_validate(_fields_of(self, GenerateConfig))


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


def _fields_of(data: BaseModel, model: type[BaseModel]) -> dict[str, Any]:
    return {name: getattr(data, name) for name in model.model_fields}
