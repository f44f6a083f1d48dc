"""Runs in MLflow's database, which is SQLite unless the operator chose another."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from heimdall_sdk.importing.mlflow import StoredRun, to_run
from heimdall_sdk.importing.runs import Omissions, RecordedRun, UnreadableError
from heimdall_sdk.reporter import PointTuple

FILE_NAME = "mlflow.db"
MAGIC = b"SQLite format 3\0"
# Databases without infinities: MLflow stores the largest number instead.
_LARGEST = 1.7976931348623157e308
_RUNS = """
    SELECT runs.run_uuid, runs.name, experiments.name, runs.status, runs.start_time,
           runs.artifact_uri
    FROM runs JOIN experiments USING (experiment_id)
    WHERE runs.lifecycle_stage = 'active' ORDER BY runs.start_time
"""
_METRICS = """
    SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ?
    ORDER BY key, step, timestamp
"""


def is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_mlflow_database(path: Path) -> Iterator[RecordedRun]:
    for run_id, name, experiment, status, start_time, artifact_uri in list(_query(path, _RUNS)):
        folder = _local_folder(artifact_uri or "")
        stored = StoredRun(
            source=path,
            run_id=run_id,
            name=name or "",
            experiment=experiment or "",
            status=status or "",
            start_time=str(start_time or ""),
            parameters=_texts(path, "params", run_id),
            tags=_texts(path, "tags", run_id),
            artifacts=folder or path.parent / "no artifacts",
        )
        run = to_run(stored, partial(_points, path, run_id))
        if folder is None:
            run.omissions.add(f"artifacts that are not on this machine ({artifact_uri})")
        yield run


def _points(path: Path, run_id: str, omissions: Omissions) -> Iterator[PointTuple]:
    for name, value, timestamp, step, is_nan in _query(path, _METRICS, run_id):
        if step < 0:
            omissions.add("values with negative steps")
            continue
        number = math.nan if is_nan else float(value)
        if abs(number) >= _LARGEST:
            number = math.copysign(math.inf, number)
        yield step, timestamp / 1000, None, {name: number}


def _texts(path: Path, table: str, run_id: str) -> dict[str, str]:
    rows = _query(path, f"SELECT key, value FROM {table} WHERE run_uuid = ?", run_id)  # noqa: S608
    return {name: value or "" for name, value in rows}


def _query(path: Path, statement: str, *values: str) -> Iterator[Any]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            yield from database.execute(statement, values)
    except sqlite3.Error as error:
        raise UnreadableError(f"{path} is not a database of MLflow ({error}).") from error


def _local_folder(uri: str) -> Path | None:
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    folder = Path(unquote(parts.path))
    return folder if folder.is_dir() else None
