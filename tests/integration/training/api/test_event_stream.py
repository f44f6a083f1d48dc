"""Server-sent events on the real stack."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg
import pytest

from tests.polling import eventually
from tests.stack import Stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("stack"), pytest.mark.timeout(240)]


@pytest.mark.parametrize("kind", ["events", "logs"])
def test_open_streams_hold_no_connection_to_the_database(stack: Stack, kind: str) -> None:
    url = stack.environment["DATABASE_URL"]

    def open_connections() -> int:
        with psycopg.connect(url) as database:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            row = database.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    job_id = stack.submit(epochs=10_000, patience=10_000)
    stack.until(job_id, "running")
    before = open_connections()
    with ExitStack() as streams:
        for _ in range(15):
            api = streams.enter_context(stack.api())
            response = streams.enter_context(api.stream("GET", f"/jobs/{job_id}/{kind}/stream"))
            assert next(response.iter_raw()).startswith(b"retry: 1000\n")
        eventually(lambda: open_connections() < before + 8, 10)
    with stack.api() as api:
        assert api.post(f"/jobs/{job_id}/cancel").status_code == 202
    stack.until(job_id, "cancelled")
