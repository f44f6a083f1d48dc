"""`heimdall watch`: the progress of a job, live in the terminal."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any, Protocol

from heimdall_sdk.api_client import JsonDict
from heimdall_sdk.cli import formatting
from heimdall_sdk.cli.event_stream import follow
from heimdall_sdk.cli.progress import Progress
from heimdall_sdk.cli.server import Server, connect

ENDED = ("completed", "failed", "cancelled", "paused")
# How far back the events begin that are shown of a job that has run for a while.
HISTORY_EVENTS = 1_000
# Values between two epochs are printed at most this often.
STEP_SECONDS = 1.0
MAX_METRICS = 8


class Display(Protocol):
    """Shows events as they come."""

    def show(self, event: JsonDict) -> None: ...

    def close(self) -> None: ...


def watch(arguments: argparse.Namespace) -> int:
    with connect() as server:
        job = server.job(arguments.id)
        if not arguments.json:
            name = f" {job['name']}" if job["name"] else ""
            print(f"Job {job['id']}{name} ({job['program']}) is {job['status']}.", flush=True)
        return watch_job(server, job, as_json=arguments.json)


def watch_job(server: Server, job: JsonDict, *, as_json: bool) -> int:
    """Show the job until it ends or is paused; 0 if it completed."""
    status = str(job["status"])
    display = _display(job, as_json=as_json)
    try:
        with closing(job_events(server, job)) as found:
            for event in found:
                display.show(event)
                if event["event"] == "training:completed":
                    status = str(event["data"]["status"])
    finally:
        display.close()
    return int(status != "completed")


def job_events(server: Server, job: JsonDict) -> Generator[JsonDict, None, None]:
    """The newest events, then new ones, up to the end of the job."""
    seen = int(job["seq"])
    has_ended = job["status"] in ENDED
    if has_ended and not seen:
        return
    path, after = f"/jobs/{job['id']}/events/stream", max(seen - HISTORY_EVENTS, 0)
    with closing(follow(server, path, after)) as messages:
        for message in messages:
            event = json.loads(message.data)
            if event["event"] == "connected":
                continue
            yield event
            number = event.get("seq", 0)
            if has_ended and number >= seen:
                return
            if event["event"] == "training:completed" and number > seen:
                return


def _display(job: JsonDict, *, as_json: bool) -> Display:
    if as_json:
        return JsonLines()
    if sys.stdout.isatty():
        try:
            from heimdall_sdk.cli.live import LiveDisplay
        except ImportError:
            return EpochLines(job)
        return LiveDisplay(job)
    return EpochLines(job)


class JsonLines:
    """One event per line, as the API sends them."""

    def show(self, event: JsonDict) -> None:
        formatting.print_json(event)

    def close(self) -> None:
        return


class EpochLines:
    """One line per epoch, and one for each change of the job's status."""

    def __init__(self, job: JsonDict) -> None:
        self._progress = Progress(job)
        self._epoch = -1
        self._printed: dict[str, Any] = {}
        self._next_step_line = 0.0

    def show(self, event: JsonDict) -> None:
        self._progress.add(event)
        if event["event"] == "training:progress":
            self._show_progress(event["data"])
        elif line := status_line(event):
            print(line, flush=True)

    def close(self) -> None:
        return

    def _show_progress(self, data: JsonDict) -> None:
        epoch, metrics = data["epoch"], data["metrics"]
        if not metrics:  # only the time left has changed
            return
        if epoch != self._epoch:
            self._epoch, self._printed = epoch, {}
            if not epoch and "step" in data:
                self._next_step_line = 0.0
        new = {name: value for name, value in metrics.items() if name not in self._printed}
        if not new:
            # The best epoch is announced a second time; values between epochs come often.
            if data["is_best"] or time.monotonic() < self._next_step_line:
                return
            new = metrics
        self._printed.update(metrics)
        self._next_step_line = time.monotonic() + STEP_SECONDS
        position = f"epoch {epoch}" + (f"/{data['total_epochs']}" if data["total_epochs"] else "")
        if not epoch and "step" in data:
            position = f"step {data['step']}"
        best = "  best" if epoch and epoch == self._progress.best_epoch else ""
        print(f"{position}  {metrics_text(new)}{best}", flush=True)


def metrics_text(metrics: Mapping[str, Any]) -> str:
    shown = list(metrics.items())[:MAX_METRICS]
    text = "  ".join(f"{name} {_value(value)}" for name, value in shown)
    rest = len(metrics) - len(shown)
    return f"{text}  and {rest} more" if rest else text


def _value(value: Any) -> str:
    # Events are strict JSON: NaN and infinities are null.
    return "not finite" if value is None else formatting.number(value)


def status_line(event: JsonDict) -> str:
    """A sentence about a change of the job; empty for other events."""
    data = event["data"]
    if event["event"] == "training:status":
        if data.get("cause") in ("paused", "cancelled"):
            return ""  # another event reports the end
        cause = str(data.get("cause") or data["status"]).replace("_", " ")
        reason = f": {data['reason']}" if data.get("reason") else ""
        return f"{cause} ({data['actor']}){reason}"
    if event["event"] == "training:started":
        epoch = data.get("resumed_from_epoch")
        return f"started from epoch {epoch}" if epoch else "started"
    if event["event"] == "training:completed":
        return _end_line(data)
    if event["event"] == "dataset:generation_progress":
        return f"{data['current']}/{data['total']} {data['message']}"
    return ""


def _end_line(data: JsonDict) -> str:
    if data["status"] == "failed":
        return f"failed: {data['error_message']}"
    if data["status"] == "completed" and data.get("best_epoch") is not None:
        return f"completed; the best epoch is {data['best_epoch']}"
    return str(data["status"])
