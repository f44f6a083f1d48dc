"""Encoding of the messages between a training and its supervisor, without torch or Django.

The message types are those of the SDK (`heimdall_sdk.messages`), so both sides share one
definition. Requests to an inference process are declared here.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson

from heimdall_sdk.messages import (
    FD_VARIABLE,
    PAUSE,
    SPEC_VARIABLE,
    BatchProgress,
    Checkpointed,
    EpochEnded,
    Failed,
    GenerateSpec,
    GenerationCompleted,
    GenerationProgress,
    JsonObject,
    Note,
    Objective,
    Paused,
    Point,
    Points,
    Started,
    Strict,
    TrainingCompleted,
    TrainSpec,
)
from heimdall_sdk.text import clean_values

__all__ = [
    "FD_VARIABLE",
    "PAUSE",
    "SPEC_VARIABLE",
    "BatchProgress",
    "Checkpointed",
    "EpochEnded",
    "ExportRequest",
    "Failed",
    "FinalError",
    "GenerateSpec",
    "GenerationCompleted",
    "GenerationProgress",
    "InferenceRequest",
    "InferenceResponse",
    "JsonObject",
    "Message",
    "MessageError",
    "Note",
    "Objective",
    "Paused",
    "Point",
    "Points",
    "PredictRequest",
    "RunSpec",
    "Started",
    "TrainSpec",
    "TrainingCompleted",
    "decode",
    "decode_request",
    "decode_response",
    "decode_spec",
    "encode",
    "encode_block",
    "is_block",
    "open_messages_fd",
    "read_lines",
]

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_READ_BYTES = 1 << 16
# orjson writes NaN and infinities as null.
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


class MessageError(ValueError):
    """A line is not one of the messages declared here."""


class FinalError(Exception):
    """Another attempt would fail in the same way; the message says why, for people."""


Message = (
    Started
    | Note
    | BatchProgress
    | EpochEnded
    | Points
    | Checkpointed
    | GenerationProgress
    | TrainingCompleted
    | GenerationCompleted
    | Paused
    | Failed
)
RunSpec = TrainSpec | GenerateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest(Strict):
    """Predict from `measurements`; `model` is the path of a saved model."""

    type: Literal["predict"] = "predict"
    model: str
    measurements: list[JsonObject]
    out_of_service: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest(Strict):
    """Convert the saved model to the format that the suffix of `output` names."""

    type: Literal["export"] = "export"
    model: str
    output: str


InferenceRequest = PredictRequest | ExportRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceResponse(Strict):
    """Ends a response: the number of `results` in the blocks before it, or an `error`.

    A block is a line with a JSON array of results; a response may have any number of them.
    `field` is the request's field at fault, if it is one field.
    """

    results: int = 0
    error: str | None = None
    field: str | None = None


def encode(message: Message | RunSpec | InferenceRequest | InferenceResponse) -> bytes:
    """Encode as one line of strict JSON."""
    return orjson.dumps(message, option=_OPTIONS)


def encode_block(results: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode results of a prediction as a line before the InferenceResponse."""
    return orjson.dumps(results, option=_OPTIONS)


def is_block(line: bytes) -> bool:
    return line.startswith(b"[")


def decode(line: bytes) -> Message:
    """Decode one message of a training; raise MessageError naming what is wrong.

    A text with a character that a database cannot store gets U+FFFD in its place.
    """
    if b"\\u00" in line:
        # A message that is not JSON, or nested too deeply, is refused below.
        with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
            line = orjson.dumps(clean_values(orjson.loads(line)))
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


def read_lines(fd: int, timeout: float | None, interval: float = 0.0) -> Iterator[list[bytes]]:
    """Yield the complete lines read from `fd`, `[]` after each `timeout` s of silence, until EOF.

    Without a timeout it waits. Reads are `interval` s apart, unless more waits than one of them
    takes. An incomplete last line is dropped: its writer was killed.
    """
    incomplete = list[bytes]()  # joined once: a line may have many megabytes
    next_read = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout):
                yield []
                continue
            time.sleep(max(0.0, next_read - time.monotonic()))
            chunk = os.read(fd, _READ_BYTES)
            next_read = time.monotonic() + (interval if len(chunk) < _READ_BYTES else 0.0)
            if not chunk:
                return
            *lines, rest = chunk.split(b"\n")
            if lines:
                lines[0] = b"".join((*incomplete, lines[0]))
                incomplete.clear()
            incomplete.append(rest)
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
