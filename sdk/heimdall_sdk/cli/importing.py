"""`heimdall import`: runs that other tools have recorded become reported jobs."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from heimdall_sdk.api_client import JsonDict
from heimdall_sdk.cli import formatting
from heimdall_sdk.cli.errors import CommandError, UsageError
from heimdall_sdk.cli.server import Server, connect
from heimdall_sdk.importing.csv_file import read_csv
from heimdall_sdk.importing.mlflow import find_runs, read_mlflow
from heimdall_sdk.importing.mlflow_database import (
    FILE_NAME,
    is_database,
    read_mlflow_database,
)
from heimdall_sdk.importing.runs import RecordedRun, UnreadableError
from heimdall_sdk.importing.tensorboard import find_event_files, read_tensorboard
from heimdall_sdk.importing.upload import ImportedRun, Options, import_run

TABLES = (".csv", ".tsv")


def import_runs(arguments: argparse.Namespace) -> int:
    options = Options(
        arguments.project, arguments.name, tuple(arguments.tag), _objective(arguments.objective),
        arguments.steps_are_epochs,
    )  # fmt: skip
    with connect() as server:
        succeeded = [_import(server, Path(path), options, arguments) for path in arguments.paths]
    return int(not all(succeeded))


def _import(server: Server, path: Path, options: Options, arguments: argparse.Namespace) -> bool:
    try:
        for run in recorded_runs(path, arguments.step):
            with server.sentences():
                result = import_run(server.client, run, options)
            _report(result, as_json=arguments.json)
    except (UnreadableError, CommandError) as error:
        print(f"heimdall: {error}", file=sys.stderr)
        return False
    return True


def recorded_runs(path: Path, step_column: str | None = None) -> Iterator[RecordedRun]:
    if not path.exists():
        raise UnreadableError(f"{path} does not exist.")
    if path.is_file() and path.suffix.lower() in TABLES:
        yield read_csv(path, step_column)
    elif database := next((one for one in (path, path / FILE_NAME) if is_database(one)), None):
        yield from read_mlflow_database(database)
    elif path.is_dir() and find_runs(path):
        yield from read_mlflow(path)
    elif find_event_files(path):
        yield from read_tensorboard(path)
    elif path.suffix.lower() == ".zip":
        raise UnreadableError(f"{path} is a zip; unpack it and import the folder.")
    else:
        raise UnreadableError(
            f"{path} is none of what can be imported: a .csv or .tsv file, a folder with "
            "TensorBoard event files, or an mlruns folder or mlflow.db of MLflow."
        )


def _report(result: ImportedRun, *, as_json: bool) -> None:
    if as_json:
        formatting.print_json(asdict(result))
        return
    if result.job_id:
        files = f" and {result.artifacts:,} artifacts" if result.artifacts else ""
        verb = "imported as" if result.created else "was imported before as"
        print(f"{result.name}: {result.points:,} points{files}, {verb} job {result.job_id}")
    else:
        print(f"{result.name}: not imported")
    for reason, count in Counter(result.rejected).items():
        print(f"  rejected: {reason}" + (f" ({count:,} points)" if count > 1 else ""))
    for sentence in result.without_counterpart:
        print(f"  no counterpart: {sentence}")
    sys.stdout.flush()


def _objective(text: str | None) -> JsonDict | None:
    if not text:
        return None
    metric, _, direction = text.rpartition(":")
    if direction not in ("minimize", "maximize"):
        metric, direction = text, "minimize"
    if not metric:
        raise UsageError(f"--objective {text!r} is not METRIC or METRIC:maximize.")
    return {"metric": metric, "direction": direction}
