"""`/ws`, the stream of all jobs, on PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest

from tests.sockets import frame, open_socket
from tests.stack import Stack, postgres_is_available

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.postgres,
    pytest.mark.xdist_group("stack"),
    pytest.mark.skipif(not postgres_is_available(), reason="needs PostgreSQL"),
]
STORE_EVENT = """WITH job AS (UPDATE training_job SET seq = seq + 1, updated_at = now()
        WHERE id = %s RETURNING id, seq)
    INSERT INTO training_jobevent (job_id, seq, event, data, at)
        SELECT id, seq, 'training:status', jsonb_build_object('job_id', id), now() FROM job"""


def reported_job(stack: Stack) -> str:
    with stack.api() as api:
        return str(api.post("/reports", json={"name": "quiet"}).json()["id"])


async def test_event_of_a_transaction_that_was_open_at_the_connect_is_delivered(
    stack: Stack,
) -> None:
    """Its key is lower than that of an event which was stored before the connect."""
    slow, quick = reported_job(stack), reported_job(stack)
    database = stack.environment["DATABASE_URL"]
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        first.execute(STORE_EVENT, [slow])
        second.execute(STORE_EVENT, [quick])
        second.commit()
        async with open_socket(stack) as socket:
            assert (await frame(socket))["event"] == "connected"
            first.commit()
            expected = stack.events(slow)[-1]
            while await frame(socket) != expected:
                pass
