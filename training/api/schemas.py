"""The bodies that the API takes, as they are validated and as the schema shows them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from training.jobs.metadata import Metadata
from training.localization.config import GenerateConfig, TrainConfig


class JobPatch(Metadata):
    """What of a job may be changed at any time."""

    team: str | None = Field(
        None, max_length=150, description="Whose members see and steer it too; null: nobody."
    )


class CreateJob(TrainConfig, JobPatch):
    """A training to queue: which dataset, and the hyper-parameters; each has a default."""

    dataset_id: UUID = Field(description="A dataset of yours that is ready.")

    def config(self) -> TrainConfig:
        return TrainConfig(**_only(self, TrainConfig))

    def labels(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "notes", "tags")}


class DatasetPatch(BaseModel):
    """What of a dataset may be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    team: str | None = Field(max_length=150, description="Whose members may use it too.")


class CreateDataset(GenerateConfig):
    """A synthetic dataset to make."""

    name: str = Field(min_length=1, max_length=200, description="Shown in lists.")

    def config(self) -> GenerateConfig:
        return GenerateConfig.model_validate(_only(self, GenerateConfig))


class Measurement(BaseModel):
    """One row of measurements.csv; at least one of the three signals."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sample_id: str | None = Field(
        None, max_length=200, description="Which transmission; left out: all rows are of one."
    )
    receiver_id: str = Field(min_length=1, max_length=200, description="One the model knows.")
    rssi_dbm: float | None = Field(None, description="Received signal strength.")
    snr_db: float | None = Field(None, description="Signal-to-noise ratio.")
    toa_ns: float | None = Field(None, description="Time of arrival, on any common clock.")
    rx_lat: float | None = Field(None, ge=-90, le=90, description="Where the receiver moves.")
    rx_lon: float | None = Field(None, ge=-180, le=180, description="Where the receiver moves.")
    rx_alt_m: float | None = Field(None, ge=-500, le=9000, description="Metres above the sea.")


class Predict(BaseModel):
    """What the receivers heard of one or more transmissions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measurements: list[Measurement] = Field(
        min_length=1, max_length=200_000, description="Rows as in measurements.csv."
    )
    out_of_service: list[str] = Field(
        [],
        max_length=1000,
        description="Receivers that did not listen; others without a row were "
        "silent, which is information.",
    )


def _only(sent: BaseModel, model: type[BaseModel]) -> dict[str, Any]:
    return {name: getattr(sent, name) for name in model.model_fields}
