"""Several hosts: jobs spread over them, and one that the network loses can do no harm."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.hosts import Host, can_make_hosts
from tests.faults.jobs import (
    CONFIG,
    LEASE_SECONDS,
    at_epoch,
    epoch_results,
    parent,
    rows_of_attempt,
    taken_over,
    trainer,
    wait_for_end,
)
from tests.faults.results_table import Tally
from tests.served import served
from tests.stack import Stack, postgres_is_there

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.postgres,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not can_make_hosts() or not postgres_is_there(),
        reason="needs root, ip, socat and PostgreSQL",
    ),
]

LONG = {**CONFIG, "epochs": 400, "patience": 400}


@pytest.fixture
def stack(amqp: str, tmp_path: Path) -> Iterator[Stack]:
    with served(tmp_path, amqp) as stack:
        yield stack


def start_worker_on(stack: Stack, host: Host, jobs_at_once: int) -> subprocess.Popen[bytes]:
    seen = {name: host.sees(stack.environment[name]) for name in ("DATABASE_URL", "RABBITMQ_URL")}
    return stack.start_worker("--concurrency", str(jobs_at_once), prefix=host.prefix, **seen)


def test_a_host_that_is_cut_off_loses_its_job_and_writes_nothing_when_it_returns(
    stack: Stack, tally: Tally
) -> None:
    with Host(1) as near, Host(2) as far:
        near_worker = start_worker_on(stack, near, 2)
        far_worker = start_worker_on(stack, far, 1)
        jobs = [stack.submit(**LONG) for _ in range(3)]
        for job_id in jobs:
            at_epoch(stack, job_id, 1)
        here, there = (
            [job_id for job_id in jobs if parent(parent(trainer(job_id))) == worker.pid]
            for worker in (near_worker, far_worker)
        )
        assert (len(here), len(there)) == (2, 1), "the jobs did not spread"
        with stack.api() as api:
            api.post(f"/jobs/{here[1]}/cancel")
        twin, lost = here[0], there[0]
        zombie = trainer(lost)

        cut = time.time()
        far.cut()
        took = taken_over(stack, lost, cut)
        rows = rows_of_attempt(stack, lost, 1)
        at_epoch(stack, lost, stack.job(lost)["current_epoch"] + 5)
        far.join()
        wait_for_end(lost, zombie, 20)
        assert rows_of_attempt(stack, lost, 1) == rows
        assert epoch_results(stack, lost) == epoch_results(stack, twin)
        assert stack.job(lost)["attempt"] == 2
        # The broker may give the first message to the host that is gone: five seconds later the
        # maintenance sends another.
        assert took < LEASE_SECONDS + 5 + 5, stack.events(lost)

        near_worker.terminate()
        assert near_worker.wait(timeout=20) == 0
        stack.until(stack.submit(epochs=1), "completed")
        assert far_worker.poll() is None
    tally("host cut off from the network, its job on another; back again", 1, seconds=[took])
