"""Messages between a training and its supervisor: one JSON object a line, without torch or Django.

A training writes messages to the file descriptor named by `HEIMDALL_MESSAGES_FD` and reads
commands from stdin. Its stdout and stderr are its log.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import orjson

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FD_VARIABLE = "HEIMDALL_MESSAGES_FD"
PAUSE = "pause"  # the only command
# orjson writes NaN and infinities as null.
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS

JsonObject = dict[str, Any]


class MessageError(ValueError):
    """A line is not one of the messages declared here."""


class FinalError(Exception):
    """Another attempt would fail in the same way; the message says why, for people."""


class _Strict:
    """Undeclared fields are errors."""

    __slots__ = ()
    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(_Strict):
    """The data is loaded and training begins."""

    type: Literal["started"] = "started"
    dataset_size: int
    train_samples: int = 0
    val_samples: int = 0
    resumed_from_epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(_Strict):
    """Something people should know; the training continues."""

    type: Literal["note"] = "note"
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress(_Strict):
    type: Literal["batch"] = "batch"
    epoch: int
    batch: int
    total_batches: int
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded(_Strict):
    """An epoch is complete, and its checkpoint is on disk if it has one.

    Short epochs share a checkpoint: then only the last of them has a path.
    """

    type: Literal["epoch"] = "epoch"
    epoch: int
    metrics: dict[str, float | None]
    seconds: float
    is_best: bool
    checkpoint_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationProgress(_Strict):
    type: Literal["generation"] = "generation"
    current: int
    total: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCompleted(_Strict):
    type: Literal["training_completed"] = "training_completed"
    checkpoint_path: str
    evaluation: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCompleted(_Strict):
    type: Literal["generation_completed"] = "generation_completed"
    path: str
    content_hash: str
    facts: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(_Strict):
    """The training stopped as requested, after its checkpoint."""

    type: Literal["paused"] = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(_Strict):
    """The training failed in a way that another attempt would repeat."""

    type: Literal["failed"] = "failed"
    error_message: str


Message = (
    Started
    | Note
    | BatchProgress
    | EpochEnded
    | GenerationProgress
    | TrainingCompleted
    | GenerationCompleted
    | Paused
    | Failed
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec(_Strict):
    """What to train. `parameters` belong to the program, `processes` and `needs` to the job."""

    type: Literal["train"] = "train"
    program: str
    parameters: JsonObject
    dataset: str
    run_dir: str
    resume_from: str | None = None
    earlier_runs: list[str] = field(default_factory=list)
    threads: int = 0  # 0: as many as the library chooses
    processes: int = 1
    needs: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateSpec(_Strict):
    """Which dataset to generate, and the file to write."""

    type: Literal["generate"] = "generate"
    program: str
    parameters: JsonObject
    output: str


RunSpec = TrainSpec | GenerateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest(_Strict):
    """Predict from `measurements`; `model` is the path of a saved model."""

    type: Literal["predict"] = "predict"
    model: str
    measurements: list[JsonObject]
    out_of_service: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest(_Strict):
    """Convert the saved model to the format that the suffix of `output` names."""

    type: Literal["export"] = "export"
    model: str
    output: str


InferenceRequest = PredictRequest | ExportRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceResponse(_Strict):
    """Either `results`, or an `error` and the request's `field` at fault, if it is one field."""

    results: list[JsonObject] = field(default_factory=list)
    error: str | None = None
    field: str | None = None


def encode(message: Message | RunSpec | InferenceRequest | InferenceResponse) -> bytes:
    """Encode as one line of strict JSON."""
    return orjson.dumps(message, option=_OPTIONS)


def decode(line: bytes) -> Message:
    """Decode one message of a training; raise MessageError naming what is wrong."""
    message: Message = _validate(_adapters().message, line)
    return message


def decode_spec(line: bytes) -> RunSpec:
    spec: RunSpec = _validate(_adapters().spec, line)
    return spec


def decode_request(line: bytes) -> InferenceRequest:
    request: InferenceRequest = _validate(_adapters().request, line)
    return request


def decode_response(line: bytes) -> InferenceResponse:
    response: InferenceResponse = _validate(_adapters().response, line)
    return response


def read_lines(fd: int, timeout: float) -> Iterator[list[bytes]]:
    """Yield the complete lines read from `fd`, `[]` after each `timeout` s of silence, until EOF.

    An incomplete last line is dropped: its writer was killed.
    """
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout):
                yield []
                continue
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            if lines:
                yield lines


def open_messages_fd() -> int:
    """Return the file descriptor for messages; stdout if no supervisor passed one.

    torchrun closes inherited descriptors in its ranks, so a rank reopens that of its parent.
    """
    value = os.environ.get(FD_VARIABLE)
    if value is None:
        return os.dup(1)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return os.open(f"/proc/{os.getppid()}/fd/{int(value)}", os.O_WRONLY)
    fd = int(value)
    os.set_inheritable(fd, False)
    return fd


@dataclass(frozen=True, slots=True)
class _Adapters:
    message: TypeAdapter[Any]
    spec: TypeAdapter[Any]
    request: TypeAdapter[Any]
    response: TypeAdapter[Any]


@cache
def _adapters() -> _Adapters:
    # Imported here: the process that writes checkpoints only encodes, and starts without it.
    from pydantic import Field, TypeAdapter

    def tagged(union: Any) -> TypeAdapter[Any]:
        return TypeAdapter(Annotated[union, Field(discriminator="type")])

    return _Adapters(
        tagged(Message), tagged(RunSpec), tagged(InferenceRequest), TypeAdapter(InferenceResponse)
    )


def _validate(adapter: TypeAdapter[Any], line: bytes) -> Any:
    from pydantic import ValidationError

    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "message"
        raise MessageError(f"{where}: {first['msg']} in {line[:200]!r}") from error
