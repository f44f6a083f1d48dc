"""How many sockets and streams one user may have, and how much a client may say."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from realtime.meters import SOCKETS

# Frames of a client: so many at once, and so many a second after that.
BURST, PER_SECOND = 200.0, 20.0
MOST_JOBS = 1000  # that one socket subscribes

_open: Counter[int] = Counter()


class TooMany(Exception):
    """This user has as many open as one may have."""


def full(user_id: int) -> bool:
    return _open[user_id] >= settings.SOCKETS_PER_USER


@contextmanager
def line(user_id: int) -> Iterator[None]:
    """Counts as open inside; TooMany where that would be one too many."""
    if full(user_id):
        raise TooMany(f"You have {_open[user_id]} sockets open already; close some first.")
    _open[user_id] += 1
    SOCKETS.inc()
    try:
        yield
    finally:
        SOCKETS.dec()
        _open[user_id] -= 1
        if not _open[user_id]:
            del _open[user_id]


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
