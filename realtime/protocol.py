"""The frames of a socket: what a client may say, what it is answered, why it is closed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from realtime.events import timestamp

SUBPROTOCOL = "heimdall"
BEARER = "bearer."


class Close:
    """Close codes; 4000 and up are ours (RFC 6455, 7.4.2). Plain ints: servers insist on them."""

    SERVICE_RESTART = 1012
    NOT_AUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    TOO_MANY = 4429


class InvalidFrameError(ValueError):
    """A client's frame that cannot be followed; the socket stays open."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Ping:
    """Is anyone there?"""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """From now on this job (and the others subscribed), its events after `after` first."""

    job_id: UUID
    after: int = 0


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """This job no more."""

    job_id: UUID


Action = Ping | Subscribe | Unsubscribe


def parse(text: str | None) -> Action:
    """What the client asks for; BadFrame says what is wrong with it."""
    try:
        frame = json.loads(text or "")
    except ValueError:
        raise InvalidFrameError("not_json", "A frame is one JSON object.") from None
    if not isinstance(frame, dict):
        raise InvalidFrameError("not_json", "A frame is one JSON object.")
    match frame.get("action"):
        case "ping":
            return Ping()
        case "subscribe":
            return Subscribe(_job_id(frame), cursor(frame.get("after", 0)))
        case "unsubscribe":
            return Unsubscribe(_job_id(frame))
        case unknown:
            said = repr(unknown)[:50]
            raise InvalidFrameError(
                "unknown_action",
                f"action {said} is unknown; known are ping, subscribe and unsubscribe.",
            )


def cursor(value: Any) -> int:
    """The seq after which a client wants the events: a whole number, at least 0."""
    try:
        after = int(value)
    except (TypeError, ValueError):
        after = -1
    if after < 0 or isinstance(value, (bool, float)):
        raise InvalidFrameError(
            "bad_after", f"after {value!r} is not a whole number of at least 0."
        )
    return after


def _job_id(frame: dict[str, Any]) -> UUID:
    try:
        return UUID(str(frame["job_id"]))
    except KeyError:
        raise InvalidFrameError("bad_job_id", "job_id is missing.") from None
    except ValueError:
        raise InvalidFrameError(
            "bad_job_id", f"job_id {frame['job_id']!r} is not a UUID."
        ) from None


def connected(job_id: UUID | None, seq: int | None) -> str:
    """The first frame of every socket."""
    data = {} if job_id is None else {"job_id": str(job_id), "seq": seq}
    return json.dumps({"event": "connected", "data": data})


def pong(at: datetime) -> str:
    return json.dumps({"event": "pong", "timestamp": timestamp(at)})


def error(code: str, message: str) -> str:
    return json.dumps({"event": "error", "data": {"code": code, "message": message}})
