"""The open sockets and streams: how many one user may have, what they were opened with, and how
much a client may say."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings

from realtime.meters import SOCKETS

# Frames of a client: so many at once, and so many a second after that.
BURST, PER_SECOND = 200.0, 20.0
MOST_JOBS = 1000  # that one socket subscribes


@dataclass(frozen=True, slots=True)
class Credential:
    """What somebody came in with: a token, or a session. Either may be taken back meanwhile."""

    user_id: int
    token: str = field(default="", repr=False)
    session: str = field(default="", repr=False)


class Line:
    """One open socket or stream; `revoked` is done once its credential counts no more."""

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self.revoked: asyncio.Future[None] = asyncio.get_running_loop().create_future()


_open: defaultdict[int, set[Line]] = defaultdict(set)


class TooMany(Exception):
    """This user has as many open as one may have."""


def full(user_id: int) -> bool:
    return len(_open.get(user_id, ())) >= settings.SOCKETS_PER_USER


@contextmanager
def line(credential: Credential) -> Iterator[Line]:
    """Counts as open inside; TooMany where that would be one too many."""
    mine = credential.user_id
    if full(mine):
        raise TooMany(f"You have {len(_open[mine])} sockets open already; close some first.")
    opened = Line(credential)
    _open[mine].add(opened)
    SOCKETS.inc()
    try:
        yield opened
    finally:
        SOCKETS.dec()
        _open[mine].discard(opened)
        if not _open[mine]:
            del _open[mine]


def credentials() -> set[Credential]:
    """With what all that is open was opened."""
    return {one.credential for lines in _open.values() for one in lines}


def revoke(gone: Collection[Credential]) -> None:
    """Tell those that were opened with one of these."""
    for lines in _open.values():
        for one in lines:
            if one.credential in gone and not one.revoked.done():
                one.revoked.set_result(None)


class Bucket:
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
