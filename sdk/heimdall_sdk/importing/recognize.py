"""Detects which tool recorded the runs at a path or URL."""

from __future__ import annotations

from pathlib import Path

from heimdall_sdk.importing.csv_file import read_csv
from heimdall_sdk.importing.databases import SqliteDatabase, is_sqlite, open_url
from heimdall_sdk.importing.mlflow import find_runs, read_mlflow
from heimdall_sdk.importing.mlflow_database import FILE_NAME, read_mlflow_database
from heimdall_sdk.importing.runs import (
    RecordedRun,
    Recording,
    UnreadableError,
    unreadable_run,
)
from heimdall_sdk.importing.tensorboard import find_event_files, read_tensorboard
from heimdall_sdk.importing.wandb import find_wandb_files, read_wandb

TABLES = (".csv", ".tsv")
KINDS = (
    "a .csv or .tsv file or a folder of them, a folder with TensorBoard event files, an mlruns "
    "folder or mlflow.db of MLflow, sqlite:/// or postgresql:// with MLflow's database, or a wandb "
    "folder or .wandb file of an offline run"
)


def read_recording(text: str, step_column: str | None = None) -> Recording:
    """The runs at this path or URL. Raises UnreadableError."""
    if "://" in text:
        return read_mlflow_database(*open_url(text))
    path = Path(text)
    if not path.exists():
        raise UnreadableError(f"{path} does not exist.")
    if database := next((one for one in (path, path / FILE_NAME) if is_sqlite(one)), None):
        return read_mlflow_database(SqliteDatabase(database), database)
    if path.is_dir() and find_runs(path):
        return read_mlflow(path)
    if find_event_files(path):
        return Recording("TensorBoard event files", list(read_tensorboard(path)))
    if find_wandb_files(path):
        return Recording("W&B offline runs", list(read_wandb(path)))
    if tables := _tables(path):
        return _read_tables(path, tables, step_column)
    if path.suffix.lower() == ".zip":
        raise UnreadableError(f"{path} is a zip; unpack it and import the folder.")
    raise UnreadableError(f"{path} cannot be imported; give {KINDS}.")


def _read_tables(path: Path, tables: list[Path], step_column: str | None) -> Recording:
    if not path.is_dir():
        return Recording("CSV", read_csv(path, step_column))
    runs = [run for table in tables for run in _read_table(table, step_column)]
    for run in runs:
        run.project = run.project or path.resolve().name
    return Recording("CSV", runs)


def _read_table(table: Path, step_column: str | None) -> list[RecordedRun]:
    try:
        return read_csv(table, step_column)
    except UnreadableError as error:
        return [unreadable_run(table, "csv", table.stem, None, error)]


def _tables(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.iterdir())
    return [one for one in found if one.suffix.lower() in TABLES and one.is_file()]
