"""Rate limits per minute, counted over all processes.

A process reserves requests from the shared row in batches and serves them from memory, so most
requests cost no query. A limit is never exceeded. What a process reserves and does not use is lost
for that minute, so a limit can be met early, by at most one batch for each further process.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import F

from training.models import Allowance

MINUTE = 60
BATCHES = 50  # per limit; with a limit below it, each request is its own batch
RETENTION_MINUTES = 60


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """`remaining` requests in this window, which ends in `reset` seconds."""

    granted: bool
    remaining: int
    reset: int


class BatchedRateLimiter:
    """The reservations of this process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._reserved: dict[str, int] = {}
        self._unreserved: dict[str, int] = {}

    def acquire(self, key: str, limit: int) -> RateLimitResult:
        now = time.time()
        minute, reset = int(now // MINUTE), MINUTE - int(now % MINUTE)
        if self._start_minute(minute):
            Allowance.objects.filter(window__lt=minute - RETENTION_MINUTES).delete()
        while True:
            with self._lock:
                reserved = self._reserved.get(key, 0)
                unreserved = self._unreserved.get(key, limit)
                if reserved:
                    self._reserved[key] = reserved - 1
                if reserved or not unreserved:
                    remaining = max(reserved - 1, 0) + unreserved
                    return RateLimitResult(bool(reserved), remaining, reset)
            batch, unreserved = _reserve_batch(key, minute, limit)
            with self._lock:
                self._reserved[key] = self._reserved.get(key, 0) + batch
                self._unreserved[key] = unreserved

    def clear(self) -> None:
        """Drop all reservations, as a new process would."""
        self._minute = 0

    def _start_minute(self, minute: int) -> bool:
        """Drop the reservations of the previous minute; whether this is a new one."""
        with self._lock:
            if minute == self._minute:
                return False
            self._minute = minute
            self._reserved.clear()
            self._unreserved.clear()
            return True


def _reserve_batch(key: str, minute: int, limit: int) -> tuple[int, int]:
    """Return the size of the batch, and how many requests can still be reserved."""
    batch = max(1, limit // BATCHES)
    row = Allowance.objects.filter(who=key)
    # A process whose clock is behind uses the later minute that another one has begun: if each
    # reset the row to its own minute, there would be no limit.
    available = row.filter(window__gte=minute, drawn__lte=limit - batch)
    while not available.update(drawn=F("drawn") + batch):
        # A row of an earlier minute is reset; if two processes try, one of them succeeds, and the
        # other one reserves again.
        if row.filter(window__lt=minute).update(window=minute, drawn=batch):
            return batch, limit - batch
        if row.filter(window__gte=minute, drawn__gt=limit - batch).exists():
            return 0, 0
        if row.exists():
            continue
        try:
            with transaction.atomic():
                Allowance.objects.create(who=key, window=minute, drawn=batch)
        except IntegrityError:
            continue
        return batch, limit - batch
    reserved = row.values_list("drawn", flat=True).first() or limit
    unreserved = limit - reserved
    return batch, unreserved if unreserved >= batch else 0


rate_limiter = BatchedRateLimiter()
