"""The bodies that the API takes, as they are validated and as the schema shows them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from training.engine.config import GenerateConfig, TrainConfig

Tags = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=50)]],
    Field(max_length=20, description="Short words to find it by."),
]


class JobPatch(BaseModel):
    """What of a job may be changed at any time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", max_length=200, description="Shown in lists.")
    notes: str = Field("", max_length=20_000, description="Free text.")
    tags: Tags = []


class CreateJob(TrainConfig, JobPatch):
    """A training to queue: which dataset, and the hyper-parameters; each has a default."""

    dataset_id: UUID = Field(description="A dataset of yours that is ready.")

    def config(self) -> TrainConfig:
        return TrainConfig(**_only(self, TrainConfig))

    def labels(self) -> dict[str, Any]:
        return _only(self, JobPatch)


class CreateDataset(GenerateConfig):
    """A synthetic dataset to make."""

    name: str = Field(min_length=1, max_length=200, description="Shown in lists.")

    def config(self) -> GenerateConfig:
        return GenerateConfig.model_validate(_only(self, GenerateConfig))


def _only(sent: BaseModel, model: type[BaseModel]) -> dict[str, Any]:
    return {name: getattr(sent, name) for name in model.model_fields}
