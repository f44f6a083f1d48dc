"""How the queue treats a job, whatever it trains."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from training.models import Job


class QueuePolicy(BaseModel):
    """The hardware a job needs, its priority, and its number of processes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    needs: Literal["auto", "cpu", "gpu"] = Field(
        "auto",
        title="Hardware",
        description="auto: any worker; gpu: a worker with a GPU; cpu: no GPU is used.",
    )
    priority: int = Field(
        0, ge=-100, le=100, title="Priority", description="Higher-priority jobs start first."
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        title="Processes",
        description="Processes for data-parallel training (torchrun). Results are the same up to "
        "rounding.",
    )

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls.model_validate({name: getattr(job, name) for name in cls.model_fields})
