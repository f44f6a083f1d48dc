"""The open sockets and streams: how many one user may have, what they were opened with, and how
much a client may say."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings

from realtime.metrics import SOCKETS

# Frames of a client: so many at once, and so many a second after that.
BURST, PER_SECOND = 200.0, 20.0
MAX_FOLLOWED_JOBS = 1000  # that one socket subscribes


@dataclass(frozen=True, slots=True)
class Credential:
    """What somebody came in with: a token, or a session. Either may be taken back meanwhile."""

    user_id: int
    token: str = field(default="", repr=False)
    session: str = field(default="", repr=False)


class Connection:
    """One open socket or stream; `over` is done, with a close code, once it may go on no more."""

    def __init__(self, credential: Credential, follows: Callable[[], Collection[UUID]]) -> None:
        self.credential, self.follows = credential, follows
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(self, code: int) -> None:
        if not self.over.done():
            self.over.set_result(code)


_open: defaultdict[int, set[Connection]] = defaultdict(set)


class TooManyConnectionsError(Exception):
    """This user has as many open as one may have."""


def at_limit(user_id: int) -> bool:
    return len(_open.get(user_id, ())) >= settings.SOCKETS_PER_USER


@contextmanager
def register(
    credential: Credential, follows: Callable[[], Collection[UUID]]
) -> Iterator[Connection]:
    """Counts as open inside; TooMany where that would be one too many. `follows`: which jobs."""
    mine = credential.user_id
    if at_limit(mine):
        raise TooManyConnectionsError(
            f"You have {len(_open[mine])} sockets open already; close some first."
        )
    opened = Connection(credential, follows)
    _open[mine].add(opened)
    SOCKETS.inc()
    try:
        yield opened
    finally:
        SOCKETS.dec()
        _open[mine].discard(opened)
        if not _open[mine]:
            del _open[mine]


def open_connections() -> list[Connection]:
    """All that are open in this process."""
    return [one for lines in _open.values() for one in lines]


class TokenBucket:
    """A token bucket: whether one more may be said now."""

    def __init__(self) -> None:
        self._left, self._at = BURST, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(BURST, self._left + PER_SECOND * (now - self._at))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
