"""Runs in a folder of MLflow's file store (`mlruns`), without MLflow.

https://github.com/mlflow/mlflow/blob/master/mlflow/store/tracking/file_store.py
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from heimdall_sdk.importing.metric_table import MetricTable
from heimdall_sdk.importing.runs import (
    Omissions,
    RecordedRun,
    Recording,
    UnreadableError,
    identify,
    list_files,
    unreadable_run,
)
from heimdall_sdk.reporter import PointTuple, Status
from heimdall_sdk.start import MAX_TAG

META = "meta.yaml"
NAME, NOTE, PARENT = "mlflow.runName", "mlflow.note.content", "mlflow.parentRunId"
# Tags that the notes show.
_ORIGINS = {"mlflow.user": "User", "mlflow.source.name": "Source",
            "mlflow.source.git.commit": "Commit"}  # fmt: skip
DELETED = "deleted runs"
UNSUPPORTED = {"inputs": "datasets of runs", "outputs": "models of runs",
               "models": "logged models", "traces": "traces",
               "model_versions": "versions of registered models"}  # fmt: skip
# RunStatus: RUNNING, SCHEDULED, FINISHED, FAILED, KILLED
_STATUSES: dict[str, Status] = {
    "3": "completed", "FINISHED": "completed", "4": "failed", "FAILED": "failed",
    "5": "cancelled", "KILLED": "cancelled",
}  # fmt: skip
_LITERALS = {"True": True, "False": False, "None": None}
_ESCAPES = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "N": "\x85", "_": "\xa0",
            "L": "\u2028", "P": "\u2029", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}  # fmt: skip


def find_runs(path: Path) -> list[Path]:
    """Folders of runs: in a store, in an experiment, or the folder itself."""
    patterns = (META, f"*/{META}", f"*/*/{META}")
    found = [meta.parent for pattern in patterns for meta in sorted(path.glob(pattern))]
    return [
        folder for folder in found
        if folder.parent.name not in ("models", "traces") and (folder / "metrics").is_dir()
    ]  # fmt: skip


def read_mlflow(path: Path) -> Recording:
    recording = Recording("MLflow file store", [])
    experiments: dict[Path, dict[str, str]] = {}
    for folder in find_runs(path):
        above = folder.parent
        try:
            if above not in experiments:
                file = above / META
                experiments[above] = _read_meta(file) if file.exists() else {}
                for part in ("models", "traces"):
                    if count := len(list((above / part).glob("*"))):
                        recording.omissions.add(UNSUPPORTED[part], count)
            run = _read_run(folder, experiments[above])
        except UnreadableError as error:
            run = unreadable_run(folder, "mlflow", folder.name, None, error)
        if run is None:
            recording.omissions.add(DELETED)
        else:
            recording.runs.append(run)
    recording.runs.sort(key=lambda run: run.started_at or 0.0)
    if versions := len(list(path.glob("models/*/version-*"))):
        recording.omissions.add(UNSUPPORTED["model_versions"], versions)
    return recording


def _read_run(folder: Path, experiment: dict[str, str]) -> RecordedRun | None:
    """None if it has been deleted."""
    meta = _read_meta(folder / META)
    if "deleted" in (meta.get("lifecycle_stage"), experiment.get("lifecycle_stage")):
        return None
    stored = StoredRun(
        source=folder,
        run_id=meta.get("run_id") or meta.get("run_uuid") or folder.name,
        name=meta.get("run_name", ""),
        experiment=experiment.get("name", ""),
        status=meta.get("status", ""),
        started_at=_seconds(meta.get("start_time", "")),
        finished_at=_seconds(meta.get("end_time", "")),
        parameters=dict(_texts(folder / "params")),
        tags=dict(_texts(folder / "tags")),
        artifacts=folder / "artifacts",
    )
    run = to_run(stored, partial(_read_metrics, folder / "metrics"))
    for part in ("inputs", "outputs"):
        if count := len(list((folder / part).glob("*"))):
            run.omissions.add(UNSUPPORTED[part], count)
    return run


@dataclass(frozen=True)
class StoredRun:
    """A run as MLflow's stores have it."""

    source: Path
    run_id: str
    name: str
    experiment: str
    status: str
    started_at: float | None
    finished_at: float | None
    parameters: dict[str, str]
    tags: dict[str, str]
    artifacts: Path | None


def to_run(
    stored: StoredRun, read_points: Callable[[Omissions], Iterator[PointTuple]]
) -> RecordedRun:
    omissions, parent = Omissions(), stored.tags.get(PARENT)
    tags = dict(_labels(stored.tags, omissions))
    return RecordedRun(
        source=stored.source,
        identity=identify("mlflow", stored.run_id),
        name=stored.tags.get(NAME) or stored.name or stored.run_id,
        read_points=read_points,
        project=None if stored.experiment in ("", "Default") else stored.experiment,
        config={name: _parameter(text) for name, text in stored.parameters.items()},
        tags=[_label(name, text) for name, text in tags.items()],
        notes="\n\n".join(filter(None, [stored.tags.get(NOTE, ""), _origin(stored, tags)])),
        status=_STATUSES.get(stored.status),
        started_at=stored.started_at,
        finished_at=stored.finished_at,
        parent=identify("mlflow", parent) if parent else None,
        artifacts=list(_artifacts(stored.artifacts)),
        omissions=omissions,
    )


def _labels(tags: dict[str, str], omissions: Omissions) -> Iterator[tuple[str, str]]:
    """The tags of the user that are short enough for a label."""
    for name, text in tags.items():
        if name.startswith("heimdall.") or name in (NAME, NOTE, PARENT, *_ORIGINS):
            continue
        if name.startswith("mlflow."):
            omissions.add("tags that MLflow itself sets")
        elif len(_label(name, text)) <= MAX_TAG:
            yield name, text


def _label(name: str, text: str) -> str:
    return f"{name}: {text}" if text else name


def _artifacts(folder: Path | None) -> Iterator[tuple[Path, str]]:
    if folder is not None:
        for file in list_files(folder):
            yield file, file.relative_to(folder).as_posix()


def _read_metrics(folder: Path, omissions: Omissions) -> Iterator[PointTuple]:
    """Each metric is a file with lines of milliseconds, value and step."""
    table = MetricTable()
    for file in list_files(folder):
        name = file.relative_to(folder).as_posix()
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                parts = line.split()
                if not parts:
                    continue
                try:
                    step = int(parts[2]) if len(parts) > 2 else 0
                    if step < 0:
                        omissions.add("values with negative steps")
                    else:
                        table.add(name, step, int(parts[0]) / 1000, float(parts[1]))
                except (ValueError, IndexError, OverflowError):
                    raise UnreadableError(
                        f"{file}, line {number}: {line.strip()[:60]!r} is not a time, a value "
                        "and a step."
                    ) from None
    yield from table.points()


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in list_files(folder):
        yield file.relative_to(folder).as_posix(), _read_text(file).rstrip("\n")


def _origin(stored: StoredRun, labels: dict[str, str]) -> str:
    """The origin of the run, and its tags that cannot be labels."""
    lines = [f"Imported from the MLflow run {stored.run_id}."]
    for name, title in _ORIGINS.items():
        if text := stored.tags.get(name):
            lines.append(f"{title}: {text}")
    lines += [
        f"{name}: {text}" for name, text in stored.tags.items()
        if name not in labels and not name.startswith(("mlflow.", "heimdall."))
    ]  # fmt: skip
    return "\n".join(lines)


def _seconds(milliseconds: str) -> float | None:
    return int(milliseconds) / 1000 if milliseconds.isdigit() and int(milliseconds) else None


def _parameter(text: str) -> Any:
    """MLflow stores the text of a value."""
    if text in _LITERALS:
        return _LITERALS[text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # A leading zero, or more digits than a number keeps, belongs to a text. JSON has no NaN.
    is_number = isinstance(value, (int, float)) and len(text) < 17 and math.isfinite(value)
    return value if is_number else text


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{file} cannot be read ({error}).") from error


def _read_meta(file: Path) -> dict[str, str]:
    """A flat YAML mapping of scalars, as MLflow writes it; JSON is YAML as well."""
    text = _read_text(file)
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UnreadableError(f"{file} is not YAML ({error}).") from error
        return {name: "" if value is None else str(value) for name, value in found.items()}
    values: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1].isspace() and name:
            values[name] += f" {line.strip()}"  # a long scalar is folded
        elif ": " in line or line.endswith(":"):
            name, _, value = line.partition(":")
            values[name] = value.strip()
    return {name: _scalar(value) for name, value in values.items()}


def _scalar(text: str) -> str:
    if text in ("null", "~", "[]", "{}"):
        return ""
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _ESCAPES.sub(_unescape, text[1:-1].replace("\\ ", ""))
    return text


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits:
        return chr(int(digits, 16))
    return _ESCAPED.get(match[4], match[4])
