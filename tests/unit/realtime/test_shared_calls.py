"""Database calls that connecting sockets share."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import OperationalError

from realtime.shared_calls import SharedCalls


async def test_identical_pending_calls_run_once() -> None:
    calls, ran = SharedCalls(), list[int]()

    def double(number: int) -> int:
        ran.append(number)
        return 2 * number

    found = await asyncio.gather(*(calls.run(double, index % 3) for index in range(300)))
    assert found == [2 * (index % 3) for index in range(300)]
    assert ran == [0, 1, 2]


async def test_call_starts_after_its_request() -> None:
    """Otherwise a socket would get a position from before its registration."""
    calls, begun, go_on, ran = SharedCalls(), threading.Event(), threading.Event(), list[int]()

    def position() -> int:
        ran.append(len(ran))
        begun.set()
        assert go_on.wait(5)
        return ran[-1]

    first = asyncio.ensure_future(calls.run(position))
    await asyncio.to_thread(begun.wait, 5)
    second = asyncio.ensure_future(calls.run(position))
    await asyncio.sleep(0)
    go_on.set()
    assert [await first, await second] == [0, 1]


async def test_failed_call_and_cancelled_caller_do_not_affect_others() -> None:
    calls, go_on = SharedCalls(), threading.Event()

    def fail() -> None:
        raise ValueError("refused")

    def wait() -> str:
        assert go_on.wait(5)
        return "done"

    cancelled = asyncio.ensure_future(calls.run(wait))
    patient = asyncio.ensure_future(calls.run(wait))
    failing = asyncio.ensure_future(calls.run(fail))
    await asyncio.sleep(0)
    cancelled.cancel()
    go_on.set()
    assert await patient == "done"
    with pytest.raises(ValueError, match="refused"):
        await failing


async def test_call_is_retried_once_if_the_idle_connection_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Connection:
        connection: object | None = object()
        in_atomic_block = False

        def close(self) -> None:
            self.connection = None

    database, attempts = Connection(), list[int]()
    monkeypatch.setattr("realtime.shared_calls.connection", database)

    def fail_at_first() -> str:
        attempts.append(1)
        if database.connection is not None:
            raise OperationalError("server closed the connection")
        return "found"

    assert await SharedCalls().run(fail_at_first) == "found"
    assert len(attempts) == 2
