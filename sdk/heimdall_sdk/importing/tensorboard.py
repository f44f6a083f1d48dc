"""Runs in TensorBoard's event files: scalars and hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from heimdall_sdk.event_files import MARK, DamagedError, Event, read_events, read_records
from heimdall_sdk.event_values import Histogram, Hyperparameters, Image, Text, Unsupported
from heimdall_sdk.importing.metric_table import MetricTable
from heimdall_sdk.importing.runs import (
    Omissions,
    RecordedRun,
    UnreadableError,
    identify,
    unreadable_run,
)
from heimdall_sdk.reporter import PointTuple


def find_event_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if MARK in path.name else []
    return sorted(found for found in path.rglob(f"*{MARK}*") if found.is_file())


def read_tensorboard(path: Path) -> Iterator[RecordedRun]:
    """Each folder with event files is a run."""
    by_folder: dict[Path, list[Path]] = {}
    for file in find_event_files(path):
        by_folder.setdefault(file.parent, []).append(file)
    root = path if path.is_dir() else path.parent
    for folder, files in by_folder.items():
        relative = folder.relative_to(root).as_posix()
        name = root.resolve().name if relative == "." else relative
        project = None if relative == "." else root.resolve().name
        try:
            yield _run(folder, files, name, project)
        except UnreadableError as error:
            yield unreadable_run(folder, "tensorboard", name, project, error)


def _run(folder: Path, files: list[Path], name: str, project: str | None) -> RecordedRun:
    config: dict[str, Any] = {}
    for file in files:
        for event in _events(file, Omissions()):
            for _, value in event.values:
                if isinstance(value, Hyperparameters):
                    config.update(value.values)

    return RecordedRun(
        source=folder,
        identity=identify("tensorboard", files[0].name, _first_record(files[0])),
        name=name,
        read_points=partial(_points, files),
        project=project,
        config=config,
        notes=f"Imported from TensorBoard event files in {name}.",
    )


def _points(files: Sequence[Path], omissions: Omissions) -> Iterator[PointTuple]:
    table = MetricTable()
    for file in files:
        for event in _events(file, omissions):
            scalars = _scalars(event, omissions)
            if scalars and event.step < 0:
                omissions.add("scalars with negative steps", len(scalars))
                continue
            for tag, value in scalars.items():
                table.add(tag, event.step, event.wall_time, value)
    yield from table.points()


def _scalars(event: Event, omissions: Omissions) -> dict[str, float]:
    scalars = {}
    for tag, value in event.values:
        match value:
            case float():
                scalars[tag] = value
            case Histogram():
                omissions.add("histograms")
            case Image():
                omissions.add("images")
            case Text():
                omissions.add("texts")
            case Unsupported(kind=kind):
                omissions.add(kind)
    return scalars


def _first_record(file: Path) -> bytes:
    return next((content or b"" for _, _, content in read_records(file)), b"")


def _events(file: Path, omissions: Omissions) -> Iterator[Event]:
    end = 0
    try:
        for event in read_events(file):
            end = event.end
            yield event
        if file.stat().st_size > end:
            omissions.add("an event at the end that was not written completely")
    except DamagedError as error:
        raise UnreadableError(str(error)) from error
    except OSError as error:
        raise UnreadableError(f"{file} cannot be read ({error.strerror}).") from error
