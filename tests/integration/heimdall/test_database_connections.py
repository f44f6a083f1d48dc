"""Database connections of the web process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.stack import Stack

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(240),
]


def test_many_requests_leave_no_database_connections_open(stack: Stack) -> None:
    database = stack.environment["DATABASE_URL"]
    if not database.startswith("postgres"):
        pytest.skip("needs PostgreSQL")
    with stack.api() as api, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.get("/jobs").status_code, range(200)))
    assert set(answers) == {200}
    with psycopg.connect(database) as line:
        row = line.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    assert row[0] < 25, row
