"""Points that a killed process held in shared memory."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from uuid import uuid4

import pytest

from heimdall_sdk import recent
from heimdall_sdk.recent import RecentPoints, recover
from heimdall_sdk.reporter import PointTuple


@pytest.fixture
def client_id() -> Iterator[str]:
    name = f"test-{uuid4().hex}"
    yield name
    recent.delete(name)


def create(client_id: str) -> RecentPoints:
    found = RecentPoints.create(client_id)
    assert found is not None
    return found


def point(step: int, *names: str) -> PointTuple:
    return step, step / 7, step if step % 2 else None, dict.fromkeys(names, step / 3)


def test_points_are_read_in_order_whatever_was_released(
    client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "SWAP_BYTES", 0)
    ring = create(client_id)
    generator = random.Random(1)
    names = ["loss", "ä b", "acc", "lr"]
    points: list[PointTuple] = []
    taken = released = 0

    for step in range(3000):
        points.append(point(step, *generator.sample(names, generator.randrange(1, 4))))
        ring.append(points[-1])
        if generator.random() < 0.1 and ring.should_swap:
            ring.swap()
            taken = len(points)
        if generator.random() < 0.05 and taken:
            ring.release()
            released = taken
        found = recover(client_id) if step % 50 == 0 else None
        if found is not None:
            assert points[-len(found) :] == found
            assert len(points) - len(found) <= released


def test_special_numbers_are_stored_exactly(client_id: str) -> None:
    ring = create(client_id)
    values = {"inf": math.inf, "tiny": 5e-324, "third": 1 / 3, "nan": math.nan}

    ring.append((1, 2.5, None, values))
    ring.append((2**70, 2.5, None, {"a": 1.0}))  # does not fit
    ring.append((-3, 2.5, 0, {}))

    found = recover(client_id)
    assert str(found) == str([(1, 2.5, None, values), (-3, 2.5, 0, {})])


def test_full_buffer_keeps_the_oldest_reports_and_the_next_buffer_continues(
    client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "BUFFER_BYTES", 200)
    monkeypatch.setattr(recent, "SWAP_BYTES", 0)
    ring = create(client_id)

    for step in range(100):
        ring.append(point(step, "a"))
    held = recover(client_id)
    assert held == [point(step, "a") for step in range(len(held))]
    assert 3 < len(held) < 10
    ring.swap()
    ring.append(point(100, "a"))
    assert not ring.should_swap  # the other one is not written yet
    ring.append(point(101, "a"))
    assert recover(client_id) == [*held, point(100, "a"), point(101, "a")]
    ring.release()
    ring.swap()
    ring.append(point(102, "a"))

    assert recover(client_id) == [point(100, "a"), point(101, "a"), point(102, "a")]


def test_nothing_is_recovered_without_shared_memory() -> None:
    assert recover("no-such-run") == []
