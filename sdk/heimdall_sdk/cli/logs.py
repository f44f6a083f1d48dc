"""`heimdall logs`: the output of a job, also while it runs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing

from heimdall_sdk.api_client import JsonDict
from heimdall_sdk.cli import formatting
from heimdall_sdk.cli.event_stream import follow
from heimdall_sdk.cli.jobs import copy
from heimdall_sdk.cli.server import Server, connect
from heimdall_sdk.errors import notify

POLL_SECONDS = 1.0


def logs(arguments: argparse.Namespace) -> int:
    with connect() as server:
        job = server.job(arguments.id)
        if arguments.follow:
            _follow(server, job, arguments.attempt, as_json=arguments.json)
        else:
            _print_whole(server, job, arguments)
    return 0


def _print_whole(server: Server, job: JsonDict, arguments: argparse.Namespace) -> None:
    path = f"/jobs/{job['id']}/logs"
    with server.open(path, {"attempt": arguments.attempt}) as response:
        if arguments.json:
            text = response.read().decode(errors="replace")
            attempt = arguments.attempt or max(job["attempt"], 1)
            formatting.print_json({"job_id": job["id"], "attempt": attempt, "text": text})
        else:
            copy(response, sys.stdout.buffer)


def _follow(server: Server, job: JsonDict, attempt: int | None, *, as_json: bool) -> None:
    """Print until the attempt ends; without a given attempt, until the job does."""
    number = attempt or max(job["attempt"], 1)
    while True:
        _print_attempt(server, job["id"], number, as_json=as_json)
        if attempt is not None or not (number := _next_attempt(server, job["id"], number)):
            return
        notify(f"attempt {number}:")


def _print_attempt(server: Server, job_id: str, attempt: int, *, as_json: bool) -> None:
    path = f"/jobs/{job_id}/logs/stream?attempt={attempt}"
    with closing(follow(server, path, 0)) as messages:
        for message in messages:
            if message.event == "end":
                return
            data = json.loads(message.data)["data"]
            if as_json:
                formatting.print_json(data)
            else:
                sys.stdout.write(data["text"])
                sys.stdout.flush()


def _next_attempt(server: Server, job_id: str, attempt: int) -> int:
    """Wait for it; 0 if the job has ended or is paused."""
    while True:
        job = server.get(f"/jobs/{job_id}")
        if job["attempt"] > attempt:
            return attempt + 1
        if job["status"] not in ("queued", "running"):
            return 0
        time.sleep(POLL_SECONDS)
