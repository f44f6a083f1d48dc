"""The queue policy of a job, which is independent of its program."""

from __future__ import annotations

from typing import Literal, Self

from django.contrib.auth.models import User
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
        0,
        ge=-100,
        le=100,
        title="Priority",
        description="Higher-priority jobs start first. Only staff can use a priority above 0.",
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        title="Processes",
        description="Processes for data-parallel training (torchrun). Results are the same up to "
        "rounding.",
    )

    def allowed_for(self, user: User) -> Self:
        """The policy with a priority of at most 0, unless the user is staff."""
        if user.is_staff:
            return self
        return self.model_copy(update={"priority": min(self.priority, 0)})

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls.model_validate({name: getattr(job, name) for name in cls.model_fields})
