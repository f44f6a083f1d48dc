"""Workers on several hosts, one of which loses its network connection."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.job_observation import (
    CONFIG,
    LEASE_SECONDS,
    epoch_results,
    parent,
    rows_of_attempt,
    takeover_seconds,
    trainer,
    wait_for_end,
    wait_for_epoch,
)
from tests.faults.network_namespace import NetworkNamespace, can_create_namespaces
from tests.faults.results_table import Tally
from tests.stack import Stack, postgres_is_available, running_stack

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.postgres,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not can_create_namespaces() or not postgres_is_available(),
        reason="needs root, ip, socat and PostgreSQL",
    ),
]

LONG = {**CONFIG, "epochs": 400, "patience": 400}


@pytest.fixture
def stack(amqp: str, tmp_path: Path) -> Iterator[Stack]:
    with running_stack(tmp_path, amqp) as stack:
        yield stack


def start_worker_on(
    stack: Stack, host: NetworkNamespace, jobs_at_once: int
) -> subprocess.Popen[bytes]:
    urls = {
        name: host.forward(stack.environment[name]) for name in ("DATABASE_URL", "RABBITMQ_URL")
    }
    return stack.start_worker("--concurrency", str(jobs_at_once), prefix=host.prefix, **urls)


def test_disconnected_worker_loses_its_job_and_cannot_write_after_reconnecting(
    stack: Stack, tally: Tally
) -> None:
    with NetworkNamespace(1) as near, NetworkNamespace(2) as far:
        near_worker = start_worker_on(stack, near, 2)
        far_worker = start_worker_on(stack, far, 1)
        jobs = [stack.submit(**LONG) for _ in range(3)]
        for job_id in jobs:
            wait_for_epoch(stack, job_id, 1)
        near_jobs, far_jobs = (
            [job_id for job_id in jobs if parent(parent(trainer(job_id))) == worker.pid]
            for worker in (near_worker, far_worker)
        )
        assert (len(near_jobs), len(far_jobs)) == (2, 1), "the workers did not share the jobs"
        with stack.api() as api:
            api.post(f"/jobs/{near_jobs[1]}/cancel")
        undisturbed, lost = near_jobs[0], far_jobs[0]
        lost_trainer = trainer(lost)

        disconnected_at = time.time()
        far.disconnect()
        took = takeover_seconds(stack, lost, disconnected_at)
        rows = rows_of_attempt(stack, lost, 1)
        wait_for_epoch(stack, lost, stack.job(lost)["current_epoch"] + 5)
        far.connect()
        wait_for_end(lost, lost_trainer, 20)
        assert rows_of_attempt(stack, lost, 1) == rows
        assert epoch_results(stack, lost) == epoch_results(stack, undisturbed)
        assert stack.job(lost)["attempt"] == 2
        # The broker may send the first message to the disconnected host; maintenance sends another
        # one five seconds later.
        assert took < LEASE_SECONDS + 5 + 5, stack.events(lost)

        near_worker.terminate()
        assert near_worker.wait(timeout=20) == 0
        stack.until(stack.submit(epochs=1), "completed")
        assert far_worker.poll() is None
    tally("host disconnected from the network, its job resumed on another", 1, seconds=[took])
