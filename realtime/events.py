"""The event types that are sent to clients; a field not declared here cannot be sent."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

log = logging.getLogger(__name__)


def _finite_or_null(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# JSON has no NaN: a metric that is not finite is sent as null.
Number = Annotated[float | None, BeforeValidator(_finite_or_null)]


# Why a `training:status` event was written. `crashed`, `worker_lost`, `worker_stopped` and
# `requeued` interrupt an attempt; `note` reports something and changes nothing. A reported job is
# `registered`, `silent` if no report comes, and `reconnected` by the next one.
StatusCause = Literal[
    "queued",
    "claimed",
    "resumed",
    "pause_requested",
    "cancel_requested",
    "paused",
    "cancelled",
    "registered",
    "silent",
    "reconnected",
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
        dumped: dict[str, JsonValue] = self.model_dump(mode="json")
        return dumped


class Started(Event):
    event = "training:started"
    topic = "training.started"
    config: dict[str, JsonValue]
    dataset_size: int | None = None
    train_samples: int | None = None
    val_samples: int | None = None
    resumed_from_epoch: int | None = None


class Progress(Event):
    event = "training:progress"
    topic = "training.progress"
    epoch: int
    total_epochs: int
    metrics: dict[str, Number]
    is_best: bool = False
    step: int | None = None  # of the newest of the metrics; a job that reports epochs has none
    # Of a trainer that reports them itself.
    progress_percent: float | None = None
    estimated_end_at: datetime | None = None

    def data(self) -> dict[str, JsonValue]:
        data = super().data()
        for name in ("step", "progress_percent", "estimated_end_at"):
            if data[name] is None:
                del data[name]
        return data


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


class Log(Event):
    """New output of a training; ephemeral, at most ten a second with at most 16 KB of text.

    `after` is the offset of the text in the output of the attempt. Events may be lost and long
    output is left out, so the next `after` need not be the end of this text: the log itself has
    everything (`GET /jobs/{id}/logs`).
    """

    event = "training:log"
    topic = "training.log"
    attempt: int
    after: int
    text: str


class GenerationProgress(Event):
    event = "dataset:generation_progress"
    topic = "dataset.generation"
    current: int
    total: int
    message: str


TOPICS: Mapping[str, str] = {
    kind.event: kind.topic
    for kind in (Started, Progress, _Ended, Status, BatchProgress, Log, GenerationProgress)
}


_EVENT_NAME = re.compile(r"[a-z_]+:[a-z_]+")


def routing_key(event: str, job_id: UUID) -> str:
    """The key of a stored event; those of another version have their topic by convention."""
    topic = TOPICS.get(event)
    if topic is None:
        topic = event.replace(":", ".") if _EVENT_NAME.fullmatch(event) else "training.unknown"
    return f"{topic}.{job_id}"


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encode(event: str, seq: int | None, at: datetime, data: Mapping[str, object]) -> bytes:
    numbering = {} if seq is None else {"seq": seq}
    frame = {"event": event, **numbering, "timestamp": timestamp(at), "data": data}
    return json.dumps(frame, allow_nan=False, separators=(",", ":")).encode()


def encode_stored(
    event: str, seq: int, at: datetime, job_id: UUID, data: Mapping[str, object]
) -> bytes:
    """Like `encode`; data that JSON cannot hold is left out, so that it blocks no later event."""
    try:
        return encode(event, seq, at, data)
    except (TypeError, ValueError, RecursionError) as error:
        log.error("Left out the data of event %s of job %s: %s", seq, job_id, error)
        return encode(event, seq, at, {"job_id": str(job_id)})


class InvalidMessageError(ValueError):
    """A message from the broker that is not an event."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """What the delivery of an event needs to know about it. Ephemeral events have no `seq`."""

    job_id: UUID
    event: str
    seq: int | None
    at: datetime | None


def decode(body: bytes) -> ReceivedEvent:
    """Raise InvalidMessageError for a message that another program or version may have sent."""
    try:
        frame = orjson.loads(body)
        job_id, event, seq = UUID(frame["data"]["job_id"]), frame["event"], frame.get("seq")
        at = datetime.fromisoformat(frame["timestamp"]) if "timestamp" in frame else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidMessageError(f"{type(error).__name__}: {error}") from None
    if not isinstance(event, str) or not (seq is None or (type(seq) is int and seq > 0)):
        raise InvalidMessageError(f"event {event!r:.50} with seq {seq!r:.50}")
    if at is not None and at.tzinfo is None:
        raise InvalidMessageError("a timestamp without a time zone")
    return ReceivedEvent(job_id, event, seq, at)
