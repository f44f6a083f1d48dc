"""Jobs of killed trainer processes resume with identical results."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.faults.job_observation import (
    CONFIG,
    claim_times,
    epoch_results,
    kill,
    started_events,
    trainer,
    trainers,
    unix_time,
    wait_for_end,
    wait_for_epoch,
)
from tests.faults.results_table import Tally, scaled
from tests.polling import eventually
from tests.stack import Stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]
MEMORY = Path("/sys/fs/cgroup/memory")


def test_job_of_a_trainer_killed_at_any_moment_resumes_immediately(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    rng = random.Random(7)
    claimed: list[float] = []
    resumed: list[float] = []
    while len(claimed) < scaled(2, 20):
        job_id = disturbed.submit(**CONFIG)
        pid = trainer(job_id)
        time.sleep(rng.uniform(0, 4))
        if pid not in trainers(job_id):
            disturbed.until(job_id, "completed")
            continue  # it ended before the kill
        killed = kill(pid)
        wait_for_end(job_id, pid, 2)
        assert epoch_results(disturbed, job_id) == undisturbed
        if len(claim_times(disturbed, job_id)) < 2:
            continue  # its last message had been sent
        started = started_events(disturbed, job_id)[-1]
        # Not `current_epoch` after the kill: the last messages are stored a moment later.
        reached = [
            event["data"]["epoch"]
            for event in disturbed.events(job_id)
            if event["event"] == "training:progress" and event["seq"] < started["seq"]
        ]
        assert (started["data"]["resumed_from_epoch"] or 0) == max(reached, default=0)
        claimed.append(claim_times(disturbed, job_id)[-1] - killed)
        resumed.append(unix_time(started) - killed)
    assert max(claimed) < 5
    tally("trainer, kill -9, taken up again", len(claimed), seconds=claimed)
    tally("trainer, kill -9, training again", len(resumed), seconds=resumed)


def test_job_whose_trainer_always_dies_fails_after_three_crashes(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    other, failing = disturbed.submit(**CONFIG), disturbed.submit(**CONFIG)
    killed: set[int] = set()
    while disturbed.job(failing)["status"] != "failed":
        for pid in set(trainers(failing)) - killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
    job = disturbed.job(failing)
    assert len(killed) == job["crashes"] + 1 == job["attempt"] == 3
    assert "signal SIGKILL, possibly out of memory" in job["error_message"]
    assert "crash 3 in a row without a new epoch" in job["error_message"]
    assert epoch_results(disturbed, other) == undisturbed
    tally("trainer that always dies: failed after 3", 1)


def test_segmentation_fault_does_not_affect_another_job(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    other, crashing = disturbed.submit(**CONFIG), disturbed.submit(**CONFIG)
    wait_for_epoch(disturbed, crashing, 3)
    kill(trainer(crashing), signal.SIGSEGV)
    assert epoch_results(disturbed, crashing) == epoch_results(disturbed, other) == undisturbed
    tally("trainer, segmentation fault", 1)


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="needs a memory cgroup to fill")
def test_trainer_killed_for_memory_does_not_affect_another_job(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    other, crashing = disturbed.submit(**CONFIG), disturbed.submit(**CONFIG)
    wait_for_epoch(disturbed, crashing, 3)
    pid, cgroup = trainer(crashing), MEMORY / f"heimdall-test-{uuid4()}"
    cgroup.mkdir()
    try:
        (cgroup / "memory.limit_in_bytes").write_text(str(1 << 16))
        (cgroup / "cgroup.procs").write_text(str(pid))
        wait_for_end(crashing, pid, 20)
        assert epoch_results(disturbed, crashing) == epoch_results(disturbed, other) == undisturbed
        assert disturbed.job(crashing)["attempt"] == 2
    finally:
        eventually(lambda: not (cgroup / "cgroup.procs").read_text().strip(), 20)
        cgroup.rmdir()
    tally("trainer, out of memory", 1)
