"""Compares the events that clients received with the stored ones after a storm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil
import psycopg

from tests.faults.database_outage import database_name
from tests.faults.event_clients import AllJobsClient, AllJobsConnection, EventClient, Events
from tests.faults.job_observation import epoch_results, unix_time
from tests.faults.storm.faults import Caused
from tests.stack import POSTGRES, Stack

# The reasons for which a job may fail during these faults; then it can be resumed.
EXPLAINED_FAILURES = re.compile(
    r"crash 3 in a row without a new epoch|disk of the data folder was full|no report for \d+ s"
)
TRAINER = re.compile(r"training\.localization (train|generate)|train\.py")
PROGRESS = {"training:progress", "training:completed"}
OPEN_TRANSACTIONS = """SELECT count(*) FROM pg_stat_activity WHERE datname = %s
    AND xact_start < now() - interval '20 seconds'"""


def client_violations(
    clients: Mapping[str, Sequence[EventClient]], logs: Mapping[str, Events]
) -> Iterator[str]:
    for job, of_job in clients.items():
        for client in of_job:
            name = f"{type(client).__name__} of job {job}"
            if client.resets:
                yield f"{name}: asked to start anew {client.resets} times"
            if client.events != logs[job]:
                yield f"{name}: {_difference(client.events, logs[job])}"


def all_jobs_violations(
    clients: Sequence[AllJobsClient], logs: Mapping[str, Events]
) -> Iterator[str]:
    for client in clients:
        for connection in client.connections:
            for job, log in logs.items():
                if problem := _connection_violation(connection, connection.events[job], log):
                    yield f"/ws, connected at {connection.opened_at:.3f}, job {job}: {problem}"


def _connection_violation(connection: AllJobsConnection, got: Events, log: Events) -> str:
    """Each connection delivers all events from some moment before `connected` was received."""
    new = [event["seq"] for event in log if unix_time(event) > connection.opened_at]
    if not got:
        return f"none of the events {new}" if new and connection.is_open else ""
    first = got[0]["seq"]
    if new and first > new[0]:
        return f"event {new[0]} is missing, {first} was the first"
    expected = log[first - 1 :] if connection.is_open else log[first - 1 : first - 1 + len(got)]
    return "" if got == expected else _difference(got, expected)


def _difference(got: Events, expected: Events) -> str:
    for received, stored in zip(got, expected, strict=False):
        if received != stored:
            return f"received {received} instead of {stored}"
    return f"received {len(got)} of {len(expected)} events, up to {got[-1:]}"


def metric_violations(
    stack: Stack, programs: Mapping[str, str], statuses: Mapping[str, str], references: set[str]
) -> Iterator[str]:
    """The metrics of each job are those of the undisturbed one of its program, or begin so."""
    expected = {programs[job]: _results(stack, job, programs[job]) for job in references}
    for job, program in programs.items():
        whole = expected[program]
        if statuses[job] == "completed":
            if _results(stack, job, program) != whole:
                yield f"job {job}: not the results of the undisturbed one"
        elif (epochs := _epochs(stack, job)) != whole[0][: len(epochs)]:
            yield f"job {job}: not the metrics of the undisturbed one: {epochs}"


def _results(stack: Stack, job: str, program: str) -> list[Any]:
    return epoch_results(stack, job) if program == "localizer" else [_epochs(stack, job)]


def _epochs(stack: Stack, job: str) -> list[Any]:
    with stack.api() as api:
        return [epoch["metrics"] for epoch in api.get(f"/jobs/{job}/epochs").json()["results"]]


def failure_violations(logs: Mapping[str, Events]) -> Iterator[str]:
    for job, log in logs.items():
        for event in log:
            message = event["data"].get("error_message")
            if message and not EXPLAINED_FAILURES.search(message):
                yield f"job {job} failed: {message}"


def row_violations(stack: Stack) -> Iterator[str]:
    yield from json.loads(stack.python("-m", "tests.faults.storm.rows").splitlines()[-1])
    with psycopg.connect(f"{POSTGRES}/postgres") as server:
        found = server.execute(OPEN_TRANSACTIONS, [database_name(stack)]).fetchone()
    if found and found[0]:
        yield f"{found[0]} transactions are open for more than 20 s"


def process_violations(stack: Stack) -> Iterator[str]:
    """Processes of the installation that run on although no job does."""
    started = {process.pid for process in stack.processes}
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("HEIMDALL_DATA_DIR") == str(stack.folder)
            command = " ".join(process.cmdline())
            parents = {process.pid, *(parent.pid for parent in process.parents())}
        except psutil.Error:
            continue
        if is_ours and (not parents & started or TRAINER.search(command)):
            yield f"process {process.pid} still runs: {command}"


def recoveries(caused: Sequence[Caused], logs: Mapping[str, Events]) -> dict[str, list[float]]:
    """Per kind and fault: seconds until every job that ran at its end had moved on."""
    found: dict[str, list[float]] = {}
    for one in caused:
        waits = [
            min((unix_time(event) for event in log if _is_progress_after(event, one)), default=0)
            for log in logs.values()
            if _status_at(log, one.ended) == "running"
        ]
        found.setdefault(one.fault.kind, []).append(max(0, max(waits, default=0) - one.ended))
    return found


def _is_progress_after(event: dict[str, Any], one: Caused) -> bool:
    return event["event"] in PROGRESS and unix_time(event) > one.ended


def _status_at(log: Events, moment: float) -> str:
    statuses = [
        event["data"]["status"]
        for event in log
        if "status" in event["data"] and unix_time(event) <= moment
    ]
    return statuses[-1] if statuses else ""
