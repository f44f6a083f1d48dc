from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from realtime.consumers import JobEventsConsumer, Scope
from realtime.protocol import Close


class UnavailableCalls:
    async def run(self, *_: Any) -> Any:
        raise OperationalError("connection refused")


class UnavailableHub:
    shared_calls = UnavailableCalls()


def call(*_: Any) -> Any:
    pytest.fail("The database was queried.")


async def test_socket_is_closed_for_a_retry_while_the_database_is_unavailable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The handshake failed, with a traceback in the log for each attempt of each client."""
    hub: Any = UnavailableHub()
    consumer = JobEventsConsumer(lambda: hub, call, call)
    scope: Scope = {
        "headers": [(b"authorization", b"Bearer hd_1")], "query_string": b"", "subprotocols": [],
        "url_route": {"kwargs": {}},
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    for _ in range(3):
        await consumer(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"] * 3
    assert sent[-1]["code"] == Close.SERVICE_RESTART
    (record,) = caplog.records
    assert "closed until the database is available" in record.getMessage()
