"""Short and long database outages: the same attempt continues."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.faults.database_outage import cut_connections, database_name, refused
from tests.faults.job_observation import CONFIG, LEASE_SECONDS, epoch_results, wait_for_epoch
from tests.faults.results_table import Tally, scaled
from tests.polling import eventually
from tests.stack import POSTGRES, Stack, postgres_is_available

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.postgres,
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(not postgres_is_available(), reason="needs PostgreSQL"),
]


@pytest.fixture
def server() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as server:
        yield server


def test_cut_database_connections_cost_no_attempt(
    disturbed: Stack, undisturbed: list[Any], server: psycopg.Connection[Any], tally: Tally
) -> None:
    job_id = disturbed.submit(**CONFIG)
    for epoch in range(3, 3 + 3 * (times := scaled(4, 10)), 3):
        wait_for_epoch(disturbed, job_id, epoch)
        cut_connections(server, database_name(disturbed))
    assert epoch_results(disturbed, job_id) == undisturbed
    assert disturbed.job(job_id)["attempt"] == 1
    tally("database connections cut: the same attempt ends", times)


def test_database_outage_longer_than_a_lease_costs_no_attempt(
    disturbed: Stack, undisturbed: list[Any], server: psycopg.Connection[Any], tally: Tally
) -> None:
    job_id = disturbed.submit(**CONFIG)
    wait_for_epoch(disturbed, job_id, 5)
    with refused(server, database_name(disturbed)):
        time.sleep(scaled(7, 30))
        with disturbed.api() as api:
            answer = api.get(f"/jobs/{job_id}")
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
    back = time.time()
    eventually(lambda: wait_for_epoch(disturbed, job_id, 6), 30)
    went_on = time.time() - back
    assert epoch_results(disturbed, job_id) == undisturbed
    job = disturbed.job(job_id)
    assert (job["attempt"], job["crashes"]) == (1, 0)
    tally(f"database down for {scaled(7, 30)} s (lease 4 s)", 1, seconds=[went_on])


def test_download_during_which_the_database_goes_away_is_cut_off(
    disturbed: Stack, server: psycopg.Connection[Any]
) -> None:
    """A job of 100,000 epochs, more than the buffers between server and client hold."""
    job_id = disturbed.submit(epochs=1)
    eventually(lambda: disturbed.job(job_id)["status"] == "completed", 60)
    disturbed.python(
        "-c",
        "import django; django.setup()\n"
        "from django.utils import timezone\n"
        "from training.models import Epoch\n"
        "now, numbers = timezone.now(), {f'metric_{n}': 1 / (n + 3) for n in range(12)}\n"
        "Epoch.objects.bulk_create([\n"
        f"    Epoch(job_id={job_id!r}, epoch=n, metrics=numbers, seconds=1.0, attempt=1, at=now)\n"
        "    for n in range(2, 100_001)\n"
        "], batch_size=2000)\n",
    )
    export, plain = f"/jobs/{job_id}/export?format=csv", {"Accept-Encoding": "identity"}
    with disturbed.api() as api:
        with api.stream("GET", export, headers=plain) as answer:
            parts = answer.iter_raw()
            next(parts)
            with refused(server, database_name(disturbed)), pytest.raises(httpx.TransportError):
                deque(parts, maxlen=0)
        whole = eventually(lambda: _complete(api.get(export)), 30)
    assert whole.content.count(b"\n") == 1 + 100_000


def _complete(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.status_code == 200 else None


def test_process_frozen_in_a_transaction_does_not_block_others_for_long(
    disturbed: Stack, tally: Tally
) -> None:
    """The process holds the lock of the job's row, like a worker suspended during a write."""
    job_id = disturbed.submit(epochs=100_000, patience=100_000)
    wait_for_epoch(disturbed, job_id, 1)
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


def test_publisher_reconnects_to_the_database_at_its_next_event(
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
