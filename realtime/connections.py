"""Registry of open WebSocket and SSE connections, with a connection limit per user."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from realtime.metrics import OPEN_CONNECTIONS


class Viewer(NamedTuple):
    """Whose jobs a connection receives; `as_staff`: all jobs, if the user is staff."""

    user_id: int
    as_staff: bool = True


@dataclass(frozen=True, slots=True)
class Credential:
    """The token or the session that opened a connection. Either can be revoked while it is open."""

    user_id: int
    token: str = field(default="", repr=False)
    session: str = field(default="", repr=False)
    as_staff: bool = True

    @property
    def viewer(self) -> Viewer:
        return Viewer(self.user_id, self.as_staff)


class Connection:
    """An open WebSocket or event stream.

    The future `closed` gets a close code as its result when the server has to end the connection.
    """

    def __init__(
        self, credential: Credential, subscribed_jobs: Callable[[], Collection[UUID]]
    ) -> None:
        self.credential, self.subscribed_jobs = credential, subscribed_jobs
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def close(self, code: int) -> None:
        if not self.closed.done():
            self.closed.set_result(code)


_connections: defaultdict[int, set[Connection]] = defaultdict(set)


class TooManyConnectionsError(Exception):
    """The user has as many connections to this process as the limit allows."""

    def __init__(self, used: int, maximum: int) -> None:
        super().__init__(
            f"You already have {used:,} open connections, and the limit is {maximum:,}: close some "
            "first, or ask an operator for a higher limit."
        )
        self.used, self.maximum = used, maximum


_places: Counter[int] = Counter()
_lock = threading.Lock()


def count_open(user_id: int) -> int:
    return _places[user_id]


class Place:
    """One of the connections that a user may have to this process, until `release`.

    Taking it counts and compares in one step, in any thread.
    """

    def __init__(self, user_id: int, maximum: int | None = None) -> None:
        allowed = settings.SOCKETS_PER_USER if maximum is None else maximum
        with _lock:
            if _places[user_id] >= allowed:
                raise TooManyConnectionsError(_places[user_id], allowed)
            _places[user_id] += 1
        self._user_id: int | None = user_id

    def release(self) -> None:
        with _lock:
            user_id, self._user_id = self._user_id, None
            if user_id is not None:
                _places[user_id] -= 1
                if not _places[user_id]:
                    del _places[user_id]


@contextmanager
def register(
    credential: Credential, subscribed_jobs: Callable[[], Collection[UUID]], place: Place
) -> Iterator[Connection]:
    """Count a connection as open inside the block, and release its place afterward."""
    user_id = credential.user_id
    connection = Connection(credential, subscribed_jobs)
    _connections[user_id].add(connection)
    OPEN_CONNECTIONS.inc()
    try:
        yield connection
    finally:
        OPEN_CONNECTIONS.dec()
        place.release()
        _connections[user_id].discard(connection)
        if not _connections[user_id]:
            del _connections[user_id]


def open_connections() -> list[Connection]:
    return [connection for group in _connections.values() for connection in group]
