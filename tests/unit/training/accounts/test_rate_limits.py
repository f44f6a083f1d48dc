from __future__ import annotations

from typing import Any

import pytest
from django.db.models import QuerySet

from training.accounts.rate_limits import BATCHES, BatchedRateLimiter
from training.models import Allowance

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves only when it is set."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("training.accounts.rate_limits.time.time", lambda: now[0])
    return now


def granted(limiter: BatchedRateLimiter, count: int, limit: int, key: str = "user:1") -> int:
    return sum(limiter.acquire(key, limit).granted for _ in range(count))


@pytest.mark.parametrize("limit", [1, 7, BATCHES, 3 * BATCHES, 10 * BATCHES + 3])
def test_one_process_never_grants_more_than_the_limit(limit: int) -> None:
    limiter = BatchedRateLimiter()
    found = granted(limiter, 2 * limit, limit)
    batch = max(1, limit // BATCHES)
    assert limit - batch < found <= limit


def test_processes_share_the_limit() -> None:
    processes = [BatchedRateLimiter() for _ in range(3)]
    found = sum(process.acquire("user:1", 10).granted for _ in range(10) for process in processes)
    assert found == 10


def test_process_that_loses_the_race_for_a_new_window_still_grants_requests(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = [BatchedRateLimiter() for _ in range(2)]
    assert [granted(process, 1, 100) for process in processes] == [1, 1]
    clock[0] += 60
    update, others = QuerySet.update, processes[1:]

    def update_after_another(rows: QuerySet[Allowance], **values: Any) -> int:
        if "window" in values and others:
            assert others.pop().acquire("user:1", 100).granted
        return update(rows, **values)

    monkeypatch.setattr(QuerySet, "update", update_after_another)
    assert granted(processes[0], 90, 100) == 90
    assert not others


def test_keys_have_separate_limits() -> None:
    limiter = BatchedRateLimiter()
    assert granted(limiter, 5, 3, "user:1") == 3
    assert granted(limiter, 5, 3, "user:2") == 3


def test_requests_of_a_batch_cost_no_query(django_assert_num_queries: object) -> None:
    limiter, limit = BatchedRateLimiter(), 4 * BATCHES
    limiter.acquire("user:1", limit)
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert granted(limiter, 3, limit) == 3


def test_remaining_and_reset_count_down(clock: list[float]) -> None:
    limiter = BatchedRateLimiter()
    first = limiter.acquire("user:1", 3)
    clock[0] += 20
    second = limiter.acquire("user:1", 3)
    assert (first.remaining, first.reset) == (2, 60)
    assert (second.remaining, second.reset) == (1, 40)


def test_new_minute_restores_the_limit_in_the_same_row(clock: list[float]) -> None:
    limiter = BatchedRateLimiter()
    assert granted(limiter, 5, 3) == 3
    clock[0] += 60
    assert granted(limiter, 5, 3) == 3
    assert Allowance.objects.count() == 1


def test_unused_requests_are_not_carried_over(clock: list[float]) -> None:
    limiter, limit = BatchedRateLimiter(), 2 * BATCHES
    limiter.acquire("user:1", limit)
    clock[0] += 60
    assert granted(limiter, 2 * limit, limit) == limit


def test_rows_of_an_hour_ago_are_deleted(clock: list[float]) -> None:
    limiter = BatchedRateLimiter()
    limiter.acquire("address:10.0.0.1", 3)
    clock[0] += 62 * 60
    limiter.acquire("address:10.0.0.2", 3)
    assert list(Allowance.objects.values_list("who", flat=True)) == ["address:10.0.0.2"]


def test_smaller_limit_applies_immediately_to_a_new_process() -> None:
    granted(BatchedRateLimiter(), 5, 10)
    assert granted(BatchedRateLimiter(), 5, 5) == 0


def test_limit_applies_although_clocks_differ(clock: list[float]) -> None:
    first, second, found, here = BatchedRateLimiter(), BatchedRateLimiter(), 0, clock[0]
    for _ in range(100):
        clock[0] = here
        found += first.acquire("address:10.0.0.1", 30).granted
        clock[0] = here + 61
        found += second.acquire("address:10.0.0.1", 30).granted
    assert found <= 60  # 30 in each of the two minutes
