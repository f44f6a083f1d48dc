"""Observations of a job during and after a fault."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from tests.polling import eventually
from tests.stack import Stack

LEASE_SECONDS = 4  # as `Stack` sets it
CONFIG: dict[str, Any] = {"epochs": 40, "patience": 40, "seed": 11}


def epoch_results(stack: Stack, job_id: str) -> list[Any]:
    """Metrics of each epoch, the evaluation and the final weights of a completed job.

    Asserts that epochs 1..N and events 1..seq are stored once each.
    """
    from training.localization.checkpoints import store

    job = stack.until(job_id, "completed")
    with stack.api() as api:
        epochs = api.get(f"/jobs/{job_id}/epochs").json()["results"]
        evaluation = api.get(f"/jobs/{job_id}/evaluation").json()
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert seqs(stack.events(job_id)) == list(range(1, job["seq"] + 1))
    weights = store.load_checkpoint(Path(job["checkpoint_path"])).model.state_dict()
    kept = {name: value.tolist() for name, value in weights.items()}
    return [[epoch["metrics"] for epoch in epochs], evaluation, kept]


def seqs(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["seq"] for frame in frames]


def wait_for_epoch(stack: Stack, job_id: str, epoch: int, seconds: float = 60) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        job = stack.job(job_id)
        return job if job["current_epoch"] >= epoch else None

    return dict(eventually(reached, seconds))


def trainers(job_id: str) -> list[int]:
    """The process IDs of the job's trainers."""
    found = subprocess.run(
        ["pgrep", "-f", f"training.localization train .*{job_id}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [int(pid) for pid in found.stdout.split()]


def trainer(job_id: str) -> int:
    """Wait for the job's trainer; return its process ID."""
    (pid,) = eventually(partial(trainers, job_id))
    return int(pid)


def wait_for_end(job_id: str, pid: int, seconds: float) -> None:
    eventually(lambda: pid not in trainers(job_id), seconds, f"trainer {pid} still runs")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def kill(pid: int, which: signal.Signals = signal.SIGKILL) -> float:
    """Send the signal; return the time."""
    os.kill(pid, which)
    return time.time()


def claim_times(stack: Stack, job_id: str) -> list[float]:
    """The times at which attempts claimed the job."""
    return [
        unix_time(event)
        for event in stack.events(job_id)
        if event["data"].get("cause") == "claimed"
    ]


def takeover_seconds(stack: Stack, job_id: str, since: float) -> float:
    """Seconds from `since` until another attempt claimed the job."""
    eventually(lambda: len(claim_times(stack, job_id)) > 1, LEASE_SECONDS + 30)
    return claim_times(stack, job_id)[-1] - since


def rows_of_attempt(stack: Stack, job_id: str, attempt: int) -> int:
    query = "SELECT count(*) FROM training_epoch WHERE job_id = %s AND attempt = %s"
    with psycopg.connect(stack.environment["DATABASE_URL"]) as database:
        found = database.execute(query, [job_id, attempt]).fetchone()
    assert found is not None
    return int(found[0])


def started_events(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    return [event for event in stack.events(job_id) if event["event"] == "training:started"]


def unix_time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()
