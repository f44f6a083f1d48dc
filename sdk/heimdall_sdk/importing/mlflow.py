"""Runs in a folder of MLflow's file store (`mlruns`), without MLflow.

https://github.com/mlflow/mlflow/blob/master/mlflow/store/tracking/file_store.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from heimdall_sdk.importing.runs import Omissions, RecordedRun, UnreadableError, identify
from heimdall_sdk.reporter import PointTuple, Status
from heimdall_sdk.start import MAX_TAG

META = "meta.yaml"
NAME, NOTE, PARENT = "mlflow.runName", "mlflow.note.content", "mlflow.parentRunId"
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
    return [folder for folder in found if (folder / "metrics").is_dir()]


def read_mlflow(path: Path) -> Iterator[RecordedRun]:
    experiments: dict[Path, dict[str, str]] = {}
    for folder in find_runs(path):
        meta = _read_meta(folder / META)
        if meta.get("lifecycle_stage") == "deleted":
            continue
        above = folder.parent
        if above not in experiments:
            file = above / META
            experiments[above] = _read_meta(file) if file.exists() else {}
        stored = StoredRun(
            source=folder,
            run_id=meta.get("run_id") or meta.get("run_uuid") or folder.name,
            name=meta.get("run_name", ""),
            experiment=experiments[above].get("name", ""),
            status=meta.get("status", ""),
            start_time=meta.get("start_time", ""),
            parameters=dict(_texts(folder / "params")),
            tags=dict(_texts(folder / "tags")),
            artifacts=folder / "artifacts",
        )
        run = to_run(stored, partial(_points, folder / "metrics"))
        for part, kind in (("inputs", "datasets"), ("outputs", "logged models")):
            if (folder / part).is_dir() and any((folder / part).iterdir()):
                run.omissions.add(kind)
        yield run


@dataclass(frozen=True)
class StoredRun:
    """A run as MLflow's stores have it."""

    source: Path
    run_id: str
    name: str
    experiment: str
    status: str
    start_time: str  # milliseconds since 1970
    parameters: dict[str, str]
    tags: dict[str, str]
    artifacts: Path


def to_run(
    stored: StoredRun, read_points: Callable[[Omissions], Iterator[PointTuple]]
) -> RecordedRun:
    omissions = Omissions()
    return RecordedRun(
        source=stored.source,
        identity=identify("mlflow", stored.run_id),
        name=stored.tags.get(NAME) or stored.name or stored.run_id,
        read_points=read_points,
        project=None if stored.experiment in ("", "Default") else stored.experiment,
        config={name: _parameter(text) for name, text in stored.parameters.items()},
        tags=list(_kept_tags(stored.tags, omissions)),
        notes="\n\n".join(filter(None, [stored.tags.get(NOTE, ""), _origin(stored)])),
        status=_STATUSES.get(stored.status),
        artifacts=[
            (file, file.relative_to(stored.artifacts).as_posix())
            for file in _files(stored.artifacts)
        ],
        omissions=omissions,
    )


def _kept_tags(tags: dict[str, str], omissions: Omissions) -> Iterator[str]:
    for name, text in tags.items():
        if name in (NAME, NOTE) or name.startswith("heimdall."):
            continue
        if name == PARENT:
            omissions.add("that it is a child of another run")
        elif name.startswith("mlflow."):
            omissions.add("tags that MLflow itself sets")
        elif len(f"{name}={text}") <= MAX_TAG:
            yield f"{name}={text}"
        else:
            omissions.add(f"tags longer than {MAX_TAG} characters")


def _points(folder: Path, omissions: Omissions) -> Iterator[PointTuple]:
    """Each metric is a file with lines of milliseconds, value and step."""
    for file in _files(folder):
        name = file.relative_to(folder).as_posix()
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                parts = line.split()
                if not parts:
                    continue
                try:
                    time, value = int(parts[0]) / 1000, float(parts[1])
                    step = int(parts[2]) if len(parts) > 2 else 0
                except (ValueError, IndexError):
                    raise UnreadableError(
                        f"{file}, line {number}: {line.strip()[:60]!r} is not a time, a value "
                        "and a step."
                    ) from None
                if step < 0:
                    omissions.add("values with negative steps")
                    continue
                yield step, time, None, {name: value}


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for file in _files(folder):
        yield file.relative_to(folder).as_posix(), file.read_text(encoding="utf-8").rstrip("\n")


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _origin(stored: StoredRun) -> str:
    text = f"Imported from the MLflow run {stored.run_id}"
    if stored.start_time.isdigit():
        at = datetime.fromtimestamp(int(stored.start_time) / 1000, timezone.utc)
        text += f", started at {at.isoformat(timespec='seconds')}"
    return f"{text}."


def _parameter(text: str) -> Any:
    """MLflow stores the text of a value."""
    if text in _LITERALS:
        return _LITERALS[text]
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # A leading zero, or more digits than a number keeps, belongs to a text.
    return value if isinstance(value, (int, float)) and len(text) < 17 else text


def _read_meta(file: Path) -> dict[str, str]:
    """A flat YAML mapping of scalars, as MLflow writes it; JSON is YAML as well."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{file} cannot be read ({error}).") from error
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
