"""How many requests somebody may still send this minute, counted across all processes.

A process draws from the shared row a portion at a time and spends it from memory, so most requests
cost no query. What it leaves unspent in a minute is lost to the others: a limit is never exceeded,
and met early by at most one portion for each further process.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import F

from training.models import Allowance

MINUTE = 60
BATCHES = 50  # that a limit is drawn in; below it each request is a draw
RETENTION_MINUTES = 60


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """Whether this request may pass, how many more may, and after how many seconds all may."""

    granted: bool
    left: int
    reset: int


class BatchedRateLimiter:
    """What this process has drawn and not spent; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._held: dict[str, int] = {}
        self._in_row: dict[str, int] = {}

    def take(self, who: str, limit: int) -> RateLimitResult:
        now = time.time()
        minute, reset = int(now // MINUTE), MINUTE - int(now % MINUTE)
        if self._begin(minute):
            Allowance.objects.filter(window__lt=minute - RETENTION_MINUTES).delete()
        while True:
            with self._lock:
                held, in_row = self._held.get(who, 0), self._in_row.get(who, limit)
                if held:
                    self._held[who] = held - 1
                if held or not in_row:
                    return RateLimitResult(bool(held), max(held - 1, 0) + in_row, reset)
            portion, in_row = _reserve_batch(who, minute, limit)
            with self._lock:
                self._held[who] = self._held.get(who, 0) + portion
                self._in_row[who] = in_row

    def forget(self) -> None:
        """Begin anew, as another process would."""
        self._minute = 0

    def _begin(self, minute: int) -> bool:
        """Whether this minute is a new one; what was held in the last is worth nothing now."""
        with self._lock:
            if minute == self._minute:
                return False
            self._minute = minute
            self._held.clear()
            self._in_row.clear()
            return True


def _reserve_batch(who: str, minute: int, limit: int) -> tuple[int, int]:
    """How much was drawn for this minute, and how much can still be."""
    portion = max(1, limit // BATCHES)
    row = Allowance.objects.filter(who=who)
    enough = row.filter(window=minute, drawn__lte=limit - portion)
    while not enough.update(drawn=F("drawn") + portion):
        # A row of another minute begins anew; of two processes that see it, one is first.
        if row.exclude(window=minute).update(window=minute, drawn=portion):
            return portion, limit - portion
        if row.exists():
            return 0, 0
        try:
            with transaction.atomic():
                Allowance.objects.create(who=who, window=minute, drawn=portion)
        except IntegrityError:
            continue
        return portion, limit - portion
    drawn = row.values_list("drawn", flat=True).first() or limit
    left = limit - drawn
    return portion, left if left >= portion else 0


rate_limiter = BatchedRateLimiter()
