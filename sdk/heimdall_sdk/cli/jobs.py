"""Commands that list, submit, control and export jobs."""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from heimdall_sdk.api_client import JsonDict
from heimdall_sdk.cli import formatting
from heimdall_sdk.cli.errors import CommandError, UsageError
from heimdall_sdk.cli.parameters import parse_parameters
from heimdall_sdk.cli.server import Server, connect
from heimdall_sdk.cli.watch import watch_job

BLOCK_SIZE = 1 << 18
BINARY_FORMATS = ("tensorboard", "mlflow")


def list_jobs(arguments: argparse.Namespace) -> int:
    if arguments.limit < 1:
        raise UsageError(f"-n {arguments.limit}: at least 1.")
    parameters = {
        "status": [one for value in arguments.status for one in value.split(",")],
        "project": arguments.project,
        "program": arguments.program,
        "search": arguments.search,
        "tag": arguments.tag,
    }
    with connect() as server:
        jobs = server.rows("/jobs", parameters, arguments.limit)
    if arguments.json:
        for job in jobs:
            formatting.print_json(job)
        return 0
    if not jobs:
        print("No jobs.", file=sys.stderr)
        return 0
    columns = ("ID", "NAME", "PROGRAM", "STATUS", "EPOCH", "BEST", "PROJECT", "AGE")
    rows = [
        (job["id"][:8], job["name"] or "-", job["program"], job["status"], _epochs(job),
         _best(job), job["project"], formatting.age(job["created_at"]))
        for job in jobs
    ]  # fmt: skip
    formatting.print_table(columns, rows, flexible="NAME")
    return 0


def list_programs(arguments: argparse.Namespace) -> int:
    with connect() as server:
        programs = server.get("/programs")["results"]
    if arguments.json:
        for program in programs:
            formatting.print_json(program)
        return 0
    rows = [
        (program["name"], program["title"], _objective(program),
         " ".join(program["parameters"].get("properties", {})))
        for program in programs
    ]  # fmt: skip
    formatting.print_table(("NAME", "TITLE", "OBJECTIVE", "PARAMETERS"), rows, "PARAMETERS")
    return 0


def submit(arguments: argparse.Namespace) -> int:
    with connect() as server:
        job = server.post("/jobs", _new_job(server, arguments), key=uuid.uuid4().hex)
        if arguments.json:
            formatting.print_json(job)
        else:
            waits = f" It waits: {job['waits_for']}" if job["waits_for"] else ""
            print(f"Job {job['id']} is queued.{waits}", flush=True)
        return watch_job(server, job, as_json=arguments.json) if arguments.watch else 0


def _new_job(server: Server, arguments: argparse.Namespace) -> JsonDict:
    program = server.get(f"/programs/{quote(arguments.program, safe='')}")
    parameters = parse_parameters(arguments.parameters, program["name"], program["parameters"])
    body: JsonDict = {
        "program": program["name"],
        "name": arguments.name,
        "project": arguments.project,
        "tags": arguments.tag,
        "needs": arguments.needs,
        "priority": arguments.priority,
        "processes": arguments.processes,
        "init_from": server.job_id(arguments.init_from) if arguments.init_from else None,
        "dataset_id": arguments.dataset,
    }
    body = {name: value for name, value in body.items() if value not in (None, "", [])}
    # For a program with datasets, the API takes the parameters at the top level.
    return {**body, **(parameters if program["has_datasets"] else {"parameters": parameters})}


def control(arguments: argparse.Namespace) -> int:
    """Pause, resume or cancel each of the jobs."""
    with connect() as server:
        failed = [text for text in arguments.ids if not _control(server, text, arguments)]
    return int(bool(failed))


def _control(server: Server, text: str, arguments: argparse.Namespace) -> bool:
    try:
        job = server.post(f"/jobs/{server.job_id(text)}/{arguments.command}", {})
    except CommandError as error:
        if len(arguments.ids) == 1:
            raise
        print(f"heimdall: {text}: {error}", file=sys.stderr)
        return False
    if arguments.json:
        formatting.print_json(job)
    else:
        stop = f", {job['stop_requested']} requested" if job["stop_requested"] else ""
        print(f"Job {job['id'][:8]} is {job['status']}{stop}.")
    return True


def export(arguments: argparse.Namespace) -> int:
    to_stdout = arguments.output in (None, "-")
    if to_stdout and arguments.format in BINARY_FORMATS and sys.stdout.isatty():
        raise UsageError(f"{arguments.format} is not text; name a file with -o FILE.")
    with connect() as server:
        path = f"/jobs/{server.job_id(arguments.id)}/export"
        with server.open(path, {"format": arguments.format}) as response:
            if to_stdout:
                copy(response, sys.stdout.buffer)
                return 0
            file = Path(arguments.output)
            with _replaced(file) as out:
                copy(response, out)
    print(f"{file} has {file.stat().st_size:,} bytes.", file=sys.stderr)
    return 0


def copy(response: HTTPResponse, out: BinaryIO) -> None:
    try:
        while block := response.read1(BLOCK_SIZE):
            out.write(block)
            out.flush()
    except BrokenPipeError:
        raise
    except (OSError, HTTPException) as error:
        raise CommandError(f"The transfer broke off ({type(error).__name__}: {error}).") from error


@contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as out:
            yield out
        temporary.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)


def _epochs(job: JsonDict) -> str:
    total = job["total_epochs"]
    return f"{job['current_epoch']}/{total}" if total else str(job["current_epoch"])


def _best(job: JsonDict) -> str:
    objective = job["objective"]
    if objective is None or job["best_value"] is None:
        return "-"
    return f"{objective['metric']} {formatting.number(job['best_value'])}"


def _objective(program: JsonDict) -> str:
    objective = program["objective"]
    return f"{objective['direction']} {objective['metric']}" if objective else "-"
