"""Recorded runs, as their readers present them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from heimdall_sdk.reporter import PointTuple, Status


class UnreadableError(Exception):
    """The files are invalid; the message is a sentence with the file's name."""


@dataclass
class Omissions:
    """Data of a run that a job cannot store: the amount of each kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, count: int = 1) -> None:
        self.counts[kind] += count

    def copy(self) -> Omissions:
        return Omissions(self.counts.copy())

    def sentences(self) -> list[str]:
        return [
            kind if count == 1 else f"{kind} ({count:,})" for kind, count in self.counts.items()
        ]


@dataclass
class RecordedRun:
    """`read_points` may be called several times, from any thread; each call reads the files again.

    `identity` stays the same when the run grows or is read again. Without a status, the run had not
    ended when it was recorded. Times are seconds since 1970; without them, those of the points
    count. `parent` is the identity of another run.
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
    started_at: float | None = None
    finished_at: float | None = None
    parent: str | None = None
    artifacts: list[tuple[Path, str]] = field(default_factory=list)
    omissions: Omissions = field(default_factory=Omissions)


@dataclass
class Recording:
    """The runs at one path or URL, and what is not part of a run and has no counterpart."""

    kind: str
    runs: list[RecordedRun]
    omissions: Omissions = field(default_factory=Omissions)


def identify(kind: str, *parts: str | bytes) -> str:
    digest = hashlib.sha256(kind.encode())
    for part in parts:
        content = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(b"\0%d\0" % len(content) + content)
    return digest.hexdigest()[:16]


def unreadable_run(
    source: Path, kind: str, name: str, project: str | None, error: UnreadableError
) -> RecordedRun:
    """A run that fails when its points are read, so that the others are imported."""

    def read_points(_omissions: Omissions) -> Iterator[PointTuple]:
        raise error

    return RecordedRun(source, identify(kind, str(source)), name, read_points, project)


def join_parts(runs: Iterable[RecordedRun]) -> list[RecordedRun]:
    """Each run once, with all that its files contain.

    A run of W&B that was resumed has a file for each process. A path may also be within another
    one.
    """
    found: dict[str, dict[Path, RecordedRun]] = {}
    for run in runs:
        found.setdefault(run.identity, {})[run.source.resolve()] = run
    return [_join(list(parts.values())) for parts in found.values()]


def _join(parts: list[RecordedRun]) -> RecordedRun:
    if len(parts) == 1:
        return parts[0]
    parts.sort(key=lambda part: part.started_at or 0.0)
    last, omissions = parts[-1], Omissions()

    def read_points(omissions: Omissions) -> Iterator[PointTuple]:
        for part in parts:
            yield from part.read_points(omissions)

    for part in parts:
        omissions.counts.update(part.omissions.counts)
    artifacts = {name: file for part in parts for file, name in part.artifacts}
    return replace(
        last,
        read_points=read_points,
        config={name: value for part in parts for name, value in part.config.items()},
        started_at=parts[0].started_at,
        artifacts=[(file, name) for name, file in artifacts.items()],
        omissions=omissions,
    )


def list_files(folder: Path) -> list[Path]:
    """All files below the folder; none if it does not exist."""
    return sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)


def by_generation(runs: Sequence[RecordedRun]) -> list[list[RecordedRun]]:
    """The runs in groups, parents before their children; parents elsewhere do not count."""
    known = {run.identity: run for run in runs}
    generations: list[list[RecordedRun]] = []
    for run in runs:
        depth, seen, parent = 0, {run.identity}, run.parent
        while parent in known and parent not in seen:
            seen.add(parent)
            depth, parent = depth + 1, known[parent].parent
        while len(generations) <= depth:
            generations.append([])
        generations[depth].append(run)
    return [group for group in generations if group]
