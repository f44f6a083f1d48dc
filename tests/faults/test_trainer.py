"""The trainer's process killed: the job resumes with identical results."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.faults.jobs import (
    CONFIG,
    at_epoch,
    claims,
    epoch_results,
    kill,
    moment,
    starts,
    trainer,
    trainers,
    wait_for_end,
)
from tests.faults.results_table import Tally, often
from tests.polling import eventually
from tests.stack import Stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]
MEMORY = Path("/sys/fs/cgroup/memory")


def test_a_trainer_killed_at_any_moment_is_taken_up_again_at_once(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    chance, claimed, going = random.Random(7), [], []
    while len(claimed) < often(2, 20):
        job_id = disturbed.submit(**CONFIG)
        pid = trainer(job_id)
        time.sleep(chance.uniform(0, 4))
        if pid not in trainers(job_id):
            disturbed.until(job_id, "completed")
            continue  # it was over before
        killed = kill(pid)
        wait_for_end(job_id, pid, 2)
        reached = disturbed.job(job_id)["current_epoch"]
        assert epoch_results(disturbed, job_id) == undisturbed
        if len(claims(disturbed, job_id)) < 2:
            continue  # its last message was sent already
        started = starts(disturbed, job_id)[-1]
        assert (started["data"]["resumed_from_epoch"] or 0) == reached
        claimed.append(claims(disturbed, job_id)[-1] - killed)
        going.append(moment(started) - killed)
    assert max(claimed) < 5
    tally("trainer, kill -9, taken up again", len(claimed), seconds=claimed)
    tally("trainer, kill -9, training again", len(going), seconds=going)


def test_a_job_that_always_kills_its_process_fails_after_three_times_and_alone(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    neighbour, doomed = disturbed.submit(**CONFIG), disturbed.submit(**CONFIG)
    killed: set[int] = set()
    while disturbed.job(doomed)["status"] != "failed":
        for pid in set(trainers(doomed)) - killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
    job = disturbed.job(doomed)
    assert len(killed) == job["crashes"] + 1 == job["attempt"] == 3
    assert "signal SIGKILL, possibly out of memory" in job["error_message"]
    assert "crash 3 in a row without a new epoch" in job["error_message"]
    assert epoch_results(disturbed, neighbour) == undisturbed
    tally("trainer that always dies: failed after 3", 1)


def test_a_segmentation_fault_leaves_the_neighbour_alone(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    neighbour, hurt = disturbed.submit(**CONFIG), disturbed.submit(**CONFIG)
    at_epoch(disturbed, hurt, 3)
    kill(trainer(hurt), signal.SIGSEGV)
    assert epoch_results(disturbed, hurt) == epoch_results(disturbed, neighbour) == undisturbed
    tally("trainer, segmentation fault", 1)


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="needs a memory cgroup to fill")
def test_a_trainer_without_memory_leaves_the_neighbour_alone(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    neighbour, hurt = disturbed.submit(**CONFIG), disturbed.submit(**CONFIG)
    at_epoch(disturbed, hurt, 3)
    pid, narrow = trainer(hurt), MEMORY / f"heimdall-test-{uuid4()}"
    narrow.mkdir()
    try:
        (narrow / "memory.limit_in_bytes").write_text(str(1 << 16))
        (narrow / "cgroup.procs").write_text(str(pid))
        wait_for_end(hurt, pid, 20)
        assert epoch_results(disturbed, hurt) == epoch_results(disturbed, neighbour) == undisturbed
        assert disturbed.job(hurt)["attempt"] == 2
    finally:
        eventually(lambda: not (narrow / "cgroup.procs").read_text().strip(), 20)
        narrow.rmdir()
    tally("trainer, out of memory", 1)
