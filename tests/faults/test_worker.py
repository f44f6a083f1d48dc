"""Workers that are killed, frozen or stopped: another worker resumes their jobs."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import Any

import pytest

from tests.faults.job_observation import (
    CONFIG,
    LEASE_SECONDS,
    claim_times,
    epoch_results,
    kill,
    parent,
    rows_of_attempt,
    takeover_seconds,
    trainer,
    trainers,
    wait_for_end,
    wait_for_epoch,
)
from tests.faults.results_table import Tally, scaled
from tests.polling import eventually
from tests.stack import Stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]


def test_trainer_ends_with_its_killed_pool_process_and_the_job_resumes(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    took = []
    for _ in range(times := scaled(1, 5)):
        job_id = disturbed.submit(**CONFIG)
        wait_for_epoch(disturbed, job_id, 5)
        pid = trainer(job_id)
        killed = kill(parent(pid))
        wait_for_end(job_id, pid, 2)
        took.append(takeover_seconds(disturbed, job_id, killed))
        assert epoch_results(disturbed, job_id) == undisturbed
    assert max(took) < LEASE_SECONDS + 5
    tally(f"pool process, kill -9 (lease {LEASE_SECONDS} s)", times, seconds=took)


def test_job_of_a_killed_worker_is_resumed_by_another(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    took = []
    for _ in range(times := scaled(1, 5)):
        disturbed.only_worker()
        disturbed.start_worker()
        job_id = disturbed.submit(**CONFIG)
        wait_for_epoch(disturbed, job_id, 5)
        worker_pid = parent(parent(trainer(job_id)))
        (worker,) = (process for process in disturbed.workers if process.pid == worker_pid)
        os.killpg(worker.pid, signal.SIGKILL)
        killed = time.time()
        worker.wait()
        eventually(partial(lambda job_id: not trainers(job_id), job_id), 2)
        took.append(takeover_seconds(disturbed, job_id, killed))
        assert epoch_results(disturbed, job_id) == undisturbed
    assert max(took) < LEASE_SECONDS + 5
    tally(f"worker, kill -9 (lease {LEASE_SECONDS} s)", times, seconds=took)


def test_frozen_worker_writes_nothing_after_it_continues(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    if not disturbed.environment["DATABASE_URL"].startswith("postgres"):
        pytest.skip("needs PostgreSQL")
    for _ in range(times := scaled(1, 3)):
        frozen = disturbed.only_worker()
        job_id = disturbed.submit(**{**CONFIG, "epochs": 100_000, "patience": 100_000})
        wait_for_epoch(disturbed, job_id, 5)
        pid = trainer(job_id)
        other = disturbed.start_worker()
        for group in (frozen.pid, pid):
            os.killpg(group, signal.SIGSTOP)
        rows = rows_of_attempt(disturbed, job_id, 1)
        time.sleep(2 * LEASE_SECONDS)
        takeover_seconds(disturbed, job_id, 0)
        for group in (frozen.pid, pid):
            os.killpg(group, signal.SIGCONT)
        wait_for_end(job_id, pid, 5)
        assert rows_of_attempt(disturbed, job_id, 1) == rows
        assert disturbed.job(job_id)["attempt"] == 2
        with disturbed.api() as api:
            api.post(f"/jobs/{job_id}/cancel")
        disturbed.until(job_id, "cancelled")
        frozen.terminate()
        assert frozen.wait(timeout=20) == 0
        assert other.poll() is None
    tally("worker and trainer frozen for two leases", times)


def test_stopped_worker_requeues_its_job_without_counting_a_crash(
    disturbed: Stack, undisturbed: list[Any], tally: Tally
) -> None:
    ended = []
    for _ in range(times := scaled(1, 5)):
        worker = disturbed.only_worker()
        job_id = disturbed.submit(**CONFIG)
        before = wait_for_epoch(disturbed, job_id, 5)["current_epoch"]
        began = time.monotonic()
        worker.terminate()
        assert worker.wait(timeout=20) == 0
        ended.append(time.monotonic() - began)
        job = disturbed.job(job_id)
        assert (job["status"], job["crashes"]) == ("queued", 0)
        assert job["current_epoch"] >= before
        disturbed.start_worker()
        assert epoch_results(disturbed, job_id) == undisturbed
    assert max(ended) < 15
    tally("worker, SIGTERM, until it has ended", times, seconds=ended)


def was_claimed_again(stack: Stack, job_id: str, count: int) -> bool:
    return len(claim_times(stack, job_id)) > count


def test_embedded_server_resumes_its_jobs_after_a_kill(
    tmp_path_factory: pytest.TempPathFactory, tally: Tally
) -> None:
    stack, took = Stack(tmp_path_factory.mktemp("embedded-killed")), []
    try:
        web = stack.start_web()
        undisturbed_job = stack.submit(**CONFIG)
        job_id = stack.submit(**CONFIG)
        for _ in range(times := scaled(1, 3)):
            wait_for_epoch(stack, job_id, stack.job(job_id)["current_epoch"] + 3)
            count = len(claim_times(stack, job_id))
            os.killpg(web.pid, signal.SIGKILL)
            web.wait()
            eventually(lambda: not trainers(job_id) and not trainers(undisturbed_job), 5)
            again = time.time()
            web = stack.start_web()
            eventually(partial(was_claimed_again, stack, job_id, count), 10)
            took.append(claim_times(stack, job_id)[-1] - again)
        assert epoch_results(stack, job_id) == epoch_results(stack, undisturbed_job)
        assert stack.job(job_id)["crashes"] == 0
        assert max(took) < 10
        tally("the embedded command, kill -9, from its next start", times, seconds=took)
    finally:
        stack.close()
