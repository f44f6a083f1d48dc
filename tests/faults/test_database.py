"""The database away for a moment and for long: the same attempt goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.faults.jobs import CONFIG, LEASE_SECONDS, at_epoch, epoch_results
from tests.faults.results_table import Tally, often
from tests.polling import eventually
from tests.stack import POSTGRES, Stack, postgres_is_there

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.postgres,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(not postgres_is_there(), reason="needs PostgreSQL"),
]
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


@pytest.fixture
def server() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as server:
        yield server


def name_of(stack: Stack) -> str:
    return stack.environment["DATABASE_URL"].rsplit("/", 1)[-1]


@contextmanager
def down(server: psycopg.Connection[Any], name: str) -> Iterator[None]:
    """For this database alone the server is as if it were not there."""
    server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
    server.execute(CUT, [name])
    try:
        yield
    finally:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_connections_that_are_cut_cost_no_attempt(
    disturbed: Stack, undisturbed: list[Any], server: psycopg.Connection[Any], tally: Tally
) -> None:
    job_id = disturbed.submit(**CONFIG)
    for epoch in range(3, 3 + 3 * (times := often(4, 10)), 3):
        at_epoch(disturbed, job_id, epoch)
        server.execute(CUT, [name_of(disturbed)])
    assert epoch_results(disturbed, job_id) == undisturbed
    assert disturbed.job(job_id)["attempt"] == 1
    tally("database connections cut: the same attempt ends", times)


def test_a_database_that_is_down_for_longer_than_a_lease_costs_no_attempt(
    disturbed: Stack, undisturbed: list[Any], server: psycopg.Connection[Any], tally: Tally
) -> None:
    job_id = disturbed.submit(**CONFIG)
    at_epoch(disturbed, job_id, 5)
    with down(server, name_of(disturbed)):
        time.sleep(often(7, 30))
        with disturbed.api() as api:
            answer = api.get(f"/jobs/{job_id}")
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
    back = time.time()
    eventually(lambda: at_epoch(disturbed, job_id, 6), 30)
    went_on = time.time() - back
    assert epoch_results(disturbed, job_id) == undisturbed
    job = disturbed.job(job_id)
    assert (job["attempt"], job["crashes"]) == (1, 0)
    tally(f"database down for {often(7, 30)} s (lease 4 s)", 1, seconds=[went_on])


def test_process_frozen_in_a_transaction_does_not_block_others_for_long(
    disturbed: Stack, tally: Tally
) -> None:
    """It holds the lock of the job's row, as a worker that falls asleep in a write does."""
    job_id = disturbed.submit(epochs=100_000, patience=100_000)
    at_epoch(disturbed, job_id, 1)
    program = (
        "import django, os, signal; django.setup()\n"
        "from django.db import transaction\n"
        "from training.models import Job\n"
        "with transaction.atomic():\n"
        f"    Job.objects.select_for_update().get(pk={job_id!r})\n"
        "    print('holds', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], env=disturbed.environment, stdout=subprocess.PIPE
    ) as frozen:
        assert frozen.stdout is not None
        try:
            assert frozen.stdout.readline() == b"holds\n"
            began = time.monotonic()
            with disturbed.api() as api:
                assert api.post(f"/jobs/{job_id}/cancel").status_code == 202
            took = time.monotonic() - began
        finally:
            frozen.kill()
    disturbed.until(job_id, "cancelled")
    assert took < LEASE_SECONDS + 5
    tally("frozen in mid-transaction: until its lock was taken away", 1, seconds=[took])


def test_a_publisher_whose_connection_was_cut_has_a_new_one_at_its_next_event(
    disturbed: Stack,
) -> None:
    program = (
        "import django; django.setup()\n"
        "from uuid import uuid4\n"
        "import psycopg\n"
        "from django.db import OperationalError, connection\n"
        "from training.events.store import DatabaseOutbox\n"
        "outbox = DatabaseOutbox()\n"
        "outbox.claim(uuid4(), 1)\n"
        "own = connection.connection.info\n"
        "with psycopg.connect(own.dsn) as other:\n"
        "    other.execute('SELECT pg_terminate_backend(%s)', [own.backend_pid])\n"
        "try: outbox.claim(uuid4(), 1)\n"
        "except OperationalError: print('cut')\n"
        "print(outbox.claim(uuid4(), 1))\n"
    )
    assert disturbed.python("-c", program).split() == ["cut", "False"]
