"""The WebSocket protocol: client actions, server frames and close codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from realtime.events import timestamp

SUBPROTOCOL = "heimdall"
BEARER = "bearer."


class Close:
    """Close codes; 4000 and above are private use (RFC 6455, 7.4.2). Servers require plain ints."""

    SERVICE_RESTART = 1012
    NOT_AUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    TOO_MANY = 4429


class InvalidFrameError(ValueError):
    """The client sent an invalid frame. It gets an error frame; the socket stays open."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event that a client has: its seq, and its timestamp as proof.

    After a restore from a backup, the event of this seq may be another one.
    """

    seq: int = 0
    timestamp: str = ""


@dataclass(frozen=True, slots=True)
class Ping: ...


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Adds a job to the stream, starting with its events after the cursor."""

    job_id: UUID
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    job_id: UUID


Action = Ping | Subscribe | Unsubscribe


def parse(text: str | None) -> Action:
    try:
        frame = json.loads(text or "")
    except (ValueError, RecursionError):  # RecursionError: nested too deeply
        raise InvalidFrameError("not_json", "A frame must be one JSON object.") from None
    if not isinstance(frame, dict):
        raise InvalidFrameError("not_json", "A frame must be one JSON object.")
    match frame.get("action"):
        case "ping":
            return Ping()
        case "subscribe":
            return Subscribe(_job_id(frame), cursor(frame.get("after", 0), frame.get("timestamp")))
        case "unsubscribe":
            return Unsubscribe(_job_id(frame))
        case unknown:
            raise InvalidFrameError(
                "unknown_action",
                f"Unknown action {repr(unknown)[:50]}; use ping, subscribe or unsubscribe.",
            )


def cursor(value: Any, proof: object = None) -> Cursor:
    """Parse a seq sent by a client, an integer of at least 0, and the timestamp of its event."""
    try:
        seq = int(value)
    except (TypeError, ValueError, OverflowError):  # OverflowError: 1e999 is infinite
        seq = -1
    if seq < 0 or isinstance(value, (bool, float)):
        raise InvalidFrameError(
            "bad_after", f"after must be an integer of at least 0, not {value!r}."
        )
    return Cursor(seq, proof if isinstance(proof, str) else "")


def _job_id(frame: Mapping[str, object]) -> UUID:
    try:
        return UUID(str(frame["job_id"]))
    except KeyError:
        raise InvalidFrameError("bad_job_id", "job_id is missing.") from None
    except ValueError:
        raise InvalidFrameError(
            "bad_job_id", f"job_id must be a UUID, not {frame['job_id']!r}."
        ) from None


def connected(job_id: UUID | None = None, seq: int | None = None, *, reset: bool = False) -> str:
    """`reset`: the client's cursor is not of this log, so all events follow."""
    data: dict[str, object] = {} if job_id is None else {"job_id": str(job_id), "seq": seq}
    if reset:
        data["reset"] = True
    return json.dumps({"event": "connected", "data": data})


def pong(at: datetime) -> str:
    return json.dumps({"event": "pong", "timestamp": timestamp(at)})


def error(code: str, message: str) -> str:
    return json.dumps({"event": "error", "data": {"code": code, "message": message}})
