"""A recorded run, as its reader presents it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heimdall_sdk.reporter import PointTuple, Status


class UnreadableError(Exception):
    """The files are not what they should be; the message is a sentence with the file's name."""


@dataclass
class Omissions:
    """What a run has that a job has no place for: how much of each kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, count: int = 1) -> None:
        self.counts[kind] += count

    def sentences(self) -> list[str]:
        return [
            kind if count == 1 else f"{kind} ({count:,})" for kind, count in self.counts.items()
        ]


@dataclass
class RecordedRun:
    """`read_points` may be called several times; each call reads the files again.

    `identity` stays the same when the run grows or is read again. Without a status, the run had not
    ended when it was recorded.
    """

    source: Path
    identity: str
    name: str
    read_points: Callable[[Omissions], Iterator[PointTuple]]
    project: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    status: Status | None = "completed"
    artifacts: list[tuple[Path, str]] = field(default_factory=list)
    omissions: Omissions = field(default_factory=Omissions)


def identify(kind: str, *parts: str | bytes) -> str:
    digest = hashlib.sha256(kind.encode())
    for part in parts:
        content = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(b"\0%d\0" % len(content) + content)
    return digest.hexdigest()[:16]
