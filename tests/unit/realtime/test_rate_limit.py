from __future__ import annotations

import time

import pytest

from realtime.rate_limit import BURST, PER_SECOND, TokenBucket


def test_bucket_allows_a_burst_and_then_refills(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bucket = TokenBucket()
    assert [bucket.try_acquire() for _ in range(int(BURST) + 1)] == [True] * int(BURST) + [False]
    now += 1
    allowed = [bucket.try_acquire() for _ in range(int(PER_SECOND) + 1)]
    assert allowed == [True] * int(PER_SECOND) + [False]
    now += 3600
    assert sum(bucket.try_acquire() for _ in range(1000)) == BURST
