"""Database calls of connecting sockets: one thread, one connection, identical calls merged.

After a restart thousands of clients reconnect at once. A thread and a database connection for each
of their calls would cost more than all else that connecting does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connection

IDLE_SECONDS = 1.0  # until the connection is closed
# After a round with many callers the next round is delayed, so that more calls are merged.
MANY_CALLERS = 10
PAUSE_SECONDS = 0.01

Result = TypeVar("Result")
Call = tuple[Callable[..., Any], tuple[Hashable, ...]]


class SharedCalls:
    """The calls of one event loop. A call begins after its request, so its result is not older."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="connecting")
        self._waiting: dict[Call, list[asyncio.Future[Any]]] = {}
        self._runner: asyncio.Task[None] | None = None
        self._closing: asyncio.TimerHandle | None = None

    async def run(self, call: Callable[..., Result], *args: Hashable) -> Result:
        # A separate future for each caller, because a caller may be cancelled.
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault((call, args), []).append(future)
        if self._runner is None:
            self._runner = asyncio.ensure_future(self._run_waiting())
        return await future

    async def _run_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        if self._closing is not None:
            self._closing.cancel()
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                results = await loop.run_in_executor(self._executor, _run_each, list(waiting))
                for futures, result in zip(waiting.values(), results, strict=True):
                    for future in futures:
                        _resolve(future, result)
                if sum(map(len, waiting.values())) >= MANY_CALLERS:
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._runner = None
            self._closing = loop.call_later(IDLE_SECONDS, self._close_connection)

    def _close_connection(self) -> None:
        asyncio.get_running_loop().run_in_executor(self._executor, _close)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # cancelled
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _run_each(calls: Sequence[Call]) -> list[Any]:
    return [_run_one(*call) for call in calls]


def _run_one(call: Callable[..., Any], args: tuple[Hashable, ...]) -> Any:
    """The result, or the exception."""
    reused = connection.connection is not None
    try:
        try:
            return call(*args)
        except (InterfaceError, OperationalError):
            _close()
            if not reused:
                raise
            return call(*args)  # the database has been restarted
    except Exception as error:
        return error


def _close() -> None:
    if not connection.in_atomic_block:  # of a test
        connection.close()
