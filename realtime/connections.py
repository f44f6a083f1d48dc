"""Registry of open WebSocket and SSE connections, with a connection limit per user."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings

from realtime.metrics import OPEN_CONNECTIONS


@dataclass(frozen=True, slots=True)
class Credential:
    """The token or the session that opened a connection. Either can be revoked while it is open."""

    user_id: int
    token: str = field(default="", repr=False)
    session: str = field(default="", repr=False)


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
    """The user has reached HEIMDALL_SOCKETS_PER_USER."""


def at_limit(user_id: int) -> bool:
    return len(_connections.get(user_id, ())) >= settings.SOCKETS_PER_USER


@contextmanager
def register(
    credential: Credential, subscribed_jobs: Callable[[], Collection[UUID]]
) -> Iterator[Connection]:
    """Count a connection as open inside the block; TooManyConnectionsError at the user's limit."""
    user_id = credential.user_id
    if at_limit(user_id):
        raise TooManyConnectionsError(
            f"You already have {len(_connections[user_id])} open connections, which is the limit; "
            "close some first."
        )
    connection = Connection(credential, subscribed_jobs)
    _connections[user_id].add(connection)
    OPEN_CONNECTIONS.inc()
    try:
        yield connection
    finally:
        OPEN_CONNECTIONS.dec()
        _connections[user_id].discard(connection)
        if not _connections[user_id]:
            del _connections[user_id]


def open_connections() -> list[Connection]:
    return [connection for group in _connections.values() for connection in group]
