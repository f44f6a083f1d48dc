"""The event types that are sent to clients; a field not declared here cannot be sent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue


def _finite_or_null(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# JSON has no NaN: a metric that is not finite is sent as null.
Number = Annotated[float | None, BeforeValidator(_finite_or_null)]


# Why a `training:status` event was written. `crashed`, `worker_lost`, `worker_stopped` and
# `requeued` interrupt an attempt; `note` reports something and changes nothing.
StatusCause = Literal[
    "queued",
    "claimed",
    "resumed",
    "pause_requested",
    "cancel_requested",
    "paused",
    "cancelled",
    "requeued",
    "worker_lost",
    "worker_stopped",
    "crashed",
    "note",
]


class Event(BaseModel):
    """An event of one job; `topic` is the routing key without the job's id."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    event: ClassVar[str]
    topic: ClassVar[str]

    job_id: UUID

    def data(self) -> dict[str, JsonValue]:
        """The `data` object of the frame, ready for strict JSON."""
        dumped: dict[str, JsonValue] = self.model_dump(mode="json")
        return dumped


class Started(Event):
    event = "training:started"
    topic = "training.started"
    config: dict[str, JsonValue]
    dataset_size: int
    train_samples: int
    val_samples: int
    resumed_from_epoch: int | None = None


class Progress(Event):
    event = "training:progress"
    topic = "training.progress"
    epoch: int
    total_epochs: int
    metrics: dict[str, Number]
    is_best: bool = False


class _Ended(Event):
    event = "training:completed"
    topic = "training.completed"


class Completed(_Ended):
    status: Literal["completed"] = "completed"
    best_epoch: int | None
    best_val_loss: Number
    checkpoint_path: str | None


class Failed(_Ended):
    status: Literal["failed"] = "failed"
    error_message: str


class Paused(_Ended):
    status: Literal["paused"] = "paused"
    checkpoint_path: str | None


class Cancelled(_Ended):
    status: Literal["cancelled"] = "cancelled"


class Status(Event):
    """A change of the job's status or of the requested stop.

    `actor` is a username or the name of a worker, `reason` free text for people. Events stored by
    version 0.1 have no `cause`.
    """

    event = "training:status"
    topic = "training.status"
    status: str
    stop_requested: str
    display_status: str = ""
    actor: str
    cause: StatusCause | None = None
    reason: str = ""


class BatchProgress(Event):
    """Ephemeral: has no `seq` and is not stored; at most one a second."""

    event = "training:batch_progress"
    topic = "training.batch_progress"
    epoch: int
    batch: int
    total_batches: int
    loss: Number


class GenerationProgress(Event):
    event = "dataset:generation_progress"
    topic = "dataset.generation"
    current: int
    total: int
    message: str


TOPICS: Mapping[str, str] = {
    kind.event: kind.topic
    for kind in (Started, Progress, _Ended, Status, BatchProgress, GenerationProgress)
}


def routing_key(event: str, job_id: UUID) -> str:
    return f"{TOPICS[event]}.{job_id}"


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode(event: str, seq: int | None, at: datetime, data: Mapping[str, Any]) -> bytes:
    """Encode one frame; an ephemeral event has no `seq`."""
    numbering = {} if seq is None else {"seq": seq}
    frame = {"event": event, **numbering, "timestamp": timestamp(at), "data": data}
    return json.dumps(frame, allow_nan=False, separators=(",", ":")).encode()
