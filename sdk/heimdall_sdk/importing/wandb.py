"""Offline runs of Weights & Biases.

https://github.com/wandb/wandb/blob/main/wandb/proto/wandb_internal.proto
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from heimdall_sdk.importing import protobuf
from heimdall_sdk.importing.metric_table import MetricTable
from heimdall_sdk.importing.protobuf import as_bytes
from heimdall_sdk.importing.runs import (
    Omissions,
    RecordedRun,
    UnreadableError,
    identify,
    list_files,
    unreadable_run,
)
from heimdall_sdk.importing.wandb_log import read_records
from heimdall_sdk.reporter import PointTuple, Status

SUFFIX = ".wandb"
# Fields of Record.
_HISTORY, _SUMMARY, _CONFIG, _RUN, _EXIT = 2, 3, 5, 17, 18
_STEP, _TIMESTAMP, _TYPE, _INTERNAL = "_step", "_timestamp", "_type", "_"


@dataclass
class _Run:
    """RunRecord, and what other records say of the whole run."""

    run_id: str = ""
    entity: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    name: str = ""
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    started_at: float | None = None
    runtime: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    status: Status | None = None


_TEXTS = {1: "run_id", 2: "entity", 3: "project", 6: "group", 7: "job_type", 8: "name", 9: "notes"}


def find_wandb_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == SUFFIX else []
    return sorted(path.rglob(f"*{SUFFIX}"))


def read_wandb(path: Path) -> Iterator[RecordedRun]:
    return map(_recorded_run, find_wandb_files(path))


def _recorded_run(file: Path) -> RecordedRun:
    try:
        run = _read_header(file)
    except UnreadableError as error:
        return unreadable_run(file, "wandb", file.stem, None, error)
    return _to_run(file, run)


def _read_header(file: Path) -> _Run:
    run = _Run()
    with _errors_with_name(file):
        for number, content in _messages(file, Omissions(), (_RUN, _CONFIG, _EXIT)):
            if number == _RUN:
                _read_run(content, run)
            elif number == _CONFIG:
                run.config.update(_named_items(content))
            else:
                found = {one: value for one, _, value in protobuf.fields(content)}
                run.status = "failed" if found.get(1) else "completed"
                run.runtime = int(found.get(2, 0))
    if not run.run_id:
        raise UnreadableError(f"{file} has no run.")
    return run


def _to_run(file: Path, run: _Run) -> RecordedRun:
    origin = [f"Imported from the W&B run {run.run_id}."]
    origin += [f"Group: {run.group}"] if run.group else []
    origin += [f"Job type: {run.job_type}"] if run.job_type else []
    folder = file.parent / "files"
    return RecordedRun(
        source=file,
        identity=identify("wandb", run.entity, run.project, run.run_id),
        name=run.name or run.run_id,
        read_points=partial(_read_points, file),
        project=run.project or None,
        config={name: value for name, value in run.config.items() if name[:1] != _INTERNAL},
        tags=run.tags,
        notes="\n\n".join(filter(None, [run.notes, "\n".join(origin)])),
        status=run.status,
        started_at=run.started_at,
        finished_at=run.started_at + run.runtime if run.started_at and run.runtime else None,
        artifacts=[(one, one.relative_to(folder).as_posix()) for one in list_files(folder)],
    )


def _messages(
    file: Path, omissions: Omissions, wanted: tuple[int, ...]
) -> Iterator[tuple[int, bytes]]:
    """Those fields of each record that are wanted, by number."""
    for record in read_records(file, omissions):
        for number, kind, content in protobuf.fields(record):
            if number in wanted and kind == protobuf.BYTES:
                yield number, as_bytes(content)


@contextlib.contextmanager
def _errors_with_name(file: Path) -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, RecursionError, ValueError, TypeError, struct.error) as error:
        raise UnreadableError(f"{file} has an invalid record ({error}).") from error


def _read_run(content: bytes, run: _Run) -> None:
    for number, kind, value in protobuf.fields(content):
        if kind != protobuf.BYTES:
            continue
        if number in _TEXTS:
            setattr(run, _TEXTS[number], _text(value))
        elif number == 4:
            run.config.update(_named_items(as_bytes(value)))
        elif number == 10:
            run.tags.append(_text(value))
        elif number == 17:
            parts = {one: part for one, _, part in protobuf.fields(as_bytes(value))}
            run.started_at = int(parts.get(1, 0)) + int(parts.get(2, 0)) / 1e9


def _named_items(content: bytes) -> dict[str, Any]:
    """The items of a history, summary or configuration."""
    items: dict[str, Any] = {}
    for number, kind, item in protobuf.fields(content):
        if (number, kind) != (1, protobuf.BYTES):
            continue
        names, text = list[str](), ""
        for part, _, value in protobuf.fields(as_bytes(item)):
            if part in (1, 2):
                names.append(_text(value))
            elif part == 16:
                text = _text(value)
        items[".".join(names)] = json.loads(text or "null")
    return items


def _read_points(file: Path, omissions: Omissions) -> Iterator[PointTuple]:
    table, known = MetricTable(), set[str]()
    summary: dict[str, float] = {}
    step, time = 0, 0.0
    with _errors_with_name(file):
        for number, content in _messages(file, omissions, (_HISTORY, _SUMMARY)):
            items = _named_items(content)
            if number == _SUMMARY:
                summary.update(_numbers(items))
                continue
            step, time = int(items.get(_STEP, step)), float(items.get(_TIMESTAMP, time))
            for name, value in _numbers(items, omissions).items():
                known.add(name)
                table.add(name, step, time, value)
    # Values that were set in the summary only, such as the best of a metric.
    for name, value in summary.items():
        if name not in known:
            table.add(name, step, time, value)
    yield from table.points()


def _numbers(items: dict[str, Any], omissions: Omissions | None = None) -> dict[str, float]:
    media = {name.removesuffix(f".{_TYPE}") for name in items if name.endswith(f".{_TYPE}")}
    if omissions is not None and media:
        omissions.add("images, histograms, tables and other media of W&B", len(media))
    found = {}
    for name, value in items.items():
        if name.startswith(_INTERNAL) or name.rpartition(".")[0] in media:
            continue
        if isinstance(value, (int, float)) or value in ("NaN", "Infinity", "-Infinity"):
            found[name] = float(value)
        elif omissions is not None:
            omissions.add("texts and lists in the history")
    return found


def _text(value: int | bytes) -> str:
    return as_bytes(value).decode(errors="replace")
