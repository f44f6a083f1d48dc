"""A worker that schedules a sweep is killed: no trial is lost or started twice."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.faults.results_table import Tally, scaled
from tests.polling import eventually
from tests.stack import SMALL, Stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]
TRIALS, EPOCHS = 3, 15


def start(stack: Stack) -> str:
    body = {
        "name": "Killed", "dataset_id": stack.dataset, "trials": TRIALS, "max_parallel": 1,
        "config": {**SMALL, "epochs": EPOCHS, "patience": EPOCHS},
        "space": {"learning_rate": {"min": 1e-3, "max": 1e-2, "log": True}},
        "early_stopping": {"rule": "none"},
    }  # fmt: skip
    with stack.api() as api:
        made = api.post("/sweeps", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def now(stack: Stack, sweep_id: str) -> dict[str, Any]:
    with stack.api() as api:
        return dict(api.get(f"/sweeps/{sweep_id}").json())


def is_amid_a_trial(sweep: dict[str, Any]) -> bool:
    return any(0 < trial["current_epoch"] < EPOCHS for trial in sweep["trials"])


def killed_amid_a_trial(stack: Stack) -> None:
    worker, sweep_id = stack.only_worker(), start(stack)
    eventually(lambda: is_amid_a_trial(now(stack, sweep_id)))
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    stack.start_worker()
    eventually(lambda: now(stack, sweep_id)["status"] != "running", 120)
    done = now(stack, sweep_id)
    assert (done["status"], done["counts"]) == ("completed", {"completed": TRIALS})
    assert [trial["trial"] for trial in done["trials"]] == [1, 2, 3]
    assert {trial["current_epoch"] for trial in done["trials"]} == {EPOCHS}
    # The interrupted trial was resumed, not started again as another one.
    attempts = [stack.job(trial["job_id"])["attempt"] for trial in done["trials"]]
    assert sorted(attempts) == [1, 1, 2]


def test_another_worker_continues_the_sweep_of_a_killed_one(disturbed: Stack, tally: Tally) -> None:
    for _ in range(times := scaled(1, 4)):
        killed_amid_a_trial(disturbed)
    tally("scheduler of a sweep, kill -9", times)
