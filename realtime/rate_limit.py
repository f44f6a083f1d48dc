"""The rate limit for frames that a client sends."""

from __future__ import annotations

import time

BURST, PER_SECOND = 200.0, 20.0


class TokenBucket:
    """Allows `BURST` frames at once, then `PER_SECOND` frames a second."""

    def __init__(self) -> None:
        self._tokens, self._refilled_at = BURST, time.monotonic()

    def try_acquire(self) -> bool:
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + PER_SECOND * (now - self._refilled_at))
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
