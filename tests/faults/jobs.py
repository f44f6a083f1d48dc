"""Jobs that are disturbed, and how one sees that nothing of them was lost."""

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

LEASE_SECONDS = 4  # of a stack
CONFIG: dict[str, Any] = {"epochs": 40, "patience": 40, "seed": 11}


def epoch_results(stack: Stack, job_id: str) -> list[Any]:
    """Each epoch's metrics, the evaluation and the final weights of a completed job, checked whole.

    Epochs 1..N are stored once each, and the events 1..seq as well.
    """
    from training.localization.checkpoints import store

    job = stack.until(job_id, "completed")
    with stack.api() as api:
        epochs = api.get(f"/jobs/{job_id}/epochs").json()["results"]
        evaluation = api.get(f"/jobs/{job_id}/evaluation").json()
    assert [one["epoch"] for one in epochs] == list(range(1, len(epochs) + 1))
    assert seqs(stack.events(job_id)) == list(range(1, job["seq"] + 1))
    weights = store.load_checkpoint(Path(job["checkpoint_path"])).model.state_dict()
    kept = {name: value.tolist() for name, value in weights.items()}
    return [[one["metrics"] for one in epochs], evaluation, kept]


def seqs(frames: list[dict[str, Any]]) -> list[int]:
    return [one["seq"] for one in frames]


def at_epoch(stack: Stack, job_id: str, epoch: int, seconds: float = 60) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        job = stack.job(job_id)
        return job if job["current_epoch"] >= epoch else None

    return dict(eventually(reached, seconds))


def trainers(job_id: str) -> list[int]:
    """The process ids of the job's trainers."""
    found = subprocess.run(
        ["pgrep", "-f", f"training.localization train .*{job_id}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [int(pid) for pid in found.stdout.split()]


def trainer(job_id: str) -> int:
    """The job's one trainer, as soon as there is one."""
    (pid,) = eventually(partial(trainers, job_id))
    return int(pid)


def wait_for_end(job_id: str, pid: int, seconds: float) -> None:
    eventually(lambda: pid not in trainers(job_id), seconds, f"trainer {pid} lives on")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def kill(pid: int, which: signal.Signals = signal.SIGKILL) -> float:
    """The moment at which it was done."""
    os.kill(pid, which)
    return time.time()


def claims(stack: Stack, job_id: str) -> list[float]:
    """When each attempt took the job."""
    return [moment(one) for one in stack.events(job_id) if one["data"].get("cause") == "claimed"]


def taken_over(stack: Stack, job_id: str, since: float) -> float:
    """How long the next attempt took to take the job."""
    eventually(lambda: len(claims(stack, job_id)) > 1, LEASE_SECONDS + 30)
    return claims(stack, job_id)[-1] - since


def rows_of_attempt(stack: Stack, job_id: str, attempt: int) -> int:
    query = "SELECT count(*) FROM training_epoch WHERE job_id = %s AND attempt = %s"
    with psycopg.connect(stack.environment["DATABASE_URL"]) as database:
        found = database.execute(query, [job_id, attempt]).fetchone()
    assert found is not None
    return int(found[0])


def starts(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    return [one for one in stack.events(job_id) if one["event"] == "training:started"]


def moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()
