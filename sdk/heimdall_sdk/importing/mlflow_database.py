"""Runs in MLflow's database.

https://github.com/mlflow/mlflow/blob/master/mlflow/store/tracking/dbmodels/models.py
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from heimdall_sdk.importing.databases import Database
from heimdall_sdk.importing.metric_table import MetricTable
from heimdall_sdk.importing.mlflow import DELETED, UNSUPPORTED, StoredRun, to_run
from heimdall_sdk.importing.runs import Omissions, Recording, UnreadableError
from heimdall_sdk.reporter import PointTuple

FILE_NAME = "mlflow.db"
# Where `mlflow server` stores the artifacts that it serves, next to its database.
SERVED_ARTIFACTS = "mlartifacts"
# Databases without infinities: MLflow stores the largest number instead.
_LARGEST = 1.7976931348623157e308
_RUNS = """
    SELECT runs.run_uuid, runs.name, experiments.name, runs.status, runs.start_time,
           runs.end_time, runs.artifact_uri,
           runs.lifecycle_stage = 'deleted' OR experiments.lifecycle_stage = 'deleted'
    FROM runs JOIN experiments ON runs.experiment_id = experiments.experiment_id
    ORDER BY runs.start_time, runs.run_uuid
"""
_METRICS = """
    SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ?
    ORDER BY key, step, timestamp
"""
# Tables of newer versions of MLflow.
_COUNTED = {"logged_models": "models", "trace_info": "traces", "model_versions": "model_versions"}

Texts = defaultdict[str, dict[str, str]]  # by run


def read_mlflow_database(database: Database, path: Path) -> Recording:
    recording = Recording("MLflow database", [])
    parameters, tags = _texts(database, "params"), _texts(database, "tags")
    inputs = _datasets_by_run(database)
    for run_id, name, experiment, status, start, end, uri, is_deleted in database.rows(_RUNS):
        if is_deleted:
            recording.omissions.add(DELETED)
            continue
        folder = _artifact_folder(uri or "", run_id, path)
        stored = StoredRun(
            source=path,
            run_id=run_id,
            name=name or "",
            experiment=experiment or "",
            status=status or "",
            started_at=start / 1000 if start else None,
            finished_at=end / 1000 if end else None,
            parameters=parameters[run_id],
            tags=tags[run_id],
            artifacts=folder,
        )
        run = to_run(stored, partial(_read_metrics, database, run_id))
        if folder is None:
            root = (uri or "").removesuffix(f"/{run_id}/artifacts").rpartition("/")[0]
            run.omissions.add(f"artifacts, if there are any: {root} is no store on this machine")
        if run_id in inputs:
            run.omissions.add(UNSUPPORTED["inputs"], inputs[run_id])
        recording.runs.append(run)
    for table, kind in _COUNTED.items():
        with contextlib.suppress(UnreadableError):
            ((count,),) = database.rows(f"SELECT count(*) FROM {table}")  # noqa: S608
            if count:
                recording.omissions.add(UNSUPPORTED[kind], count)
    return recording


def _read_metrics(database: Database, run_id: str, omissions: Omissions) -> Iterator[PointTuple]:
    table = MetricTable()
    for name, value, timestamp, step, is_nan in database.rows(_METRICS, run_id):
        if step < 0:
            omissions.add("values with negative steps")
            continue
        number = math.nan if is_nan else float(value)
        if abs(number) >= _LARGEST:
            number = math.copysign(math.inf, number)
        table.add(name, step, timestamp / 1000, number)
    yield from table.points()


def _texts(database: Database, table: str) -> Texts:
    found: Texts = defaultdict(dict)
    for run_id, name, value in database.rows(f"SELECT run_uuid, key, value FROM {table}"):  # noqa: S608
        found[run_id][name] = value or ""
    return found


def _datasets_by_run(database: Database) -> dict[str, int]:
    statement = """
        SELECT destination_id, count(*) FROM inputs
        WHERE destination_type = 'RUN' AND source_type = 'DATASET' GROUP BY destination_id
    """
    with contextlib.suppress(UnreadableError):
        return dict(database.rows(statement))
    return {}


def _artifact_folder(uri: str, run_id: str, path: Path) -> Path | None:
    """Where the run's artifacts are, if it has any; None if that is elsewhere.

    A database from elsewhere could otherwise name any folder of this machine to be uploaded.
    """
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts":
        folder = path.parent / SERVED_ARTIFACTS / unquote(parts.path).lstrip("/")
    elif parts.scheme in ("", "file"):
        folder = Path(unquote(parts.path))
    else:
        return None
    if folder.parts[-2:] != (run_id, "artifacts") or ".." in folder.parts:
        return None
    # ROOT/EXPERIMENT/RUN/artifacts: MLflow creates the folders with the first artifact.
    is_here = folder.is_dir() or any(parent.is_dir() for parent in list(folder.parents)[:3])
    return folder if is_here else None
