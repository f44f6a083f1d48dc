"""The order in which subscribers are called when jobs with many subscribers change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from realtime.event_buffer import JobEventBuffer
from realtime.fan_out import SUBSCRIBERS_AT_ONCE, FanOut


class Subscriber:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def buffer_changed(self, buffer: JobEventBuffer) -> None:
        self.seen.append(buffer.latest_seq)


@pytest.fixture
async def fan_out() -> AsyncIterator[FanOut]:
    fan_out = FanOut()
    running = asyncio.ensure_future(fan_out.run())
    yield fan_out
    running.cancel()


def followed(fan_out: FanOut, count: int) -> tuple[JobEventBuffer, list[Subscriber]]:
    buffer = JobEventBuffer(uuid4(), fan_out.add)
    subscribers = [Subscriber() for _ in range(count)]
    buffer.subscribers.update(subscribers)
    return buffer, subscribers


async def test_changes_before_a_flush_cost_one_call(fan_out: FanOut) -> None:
    buffer, subscribers = followed(fan_out, 3)
    for seq in (1, 2, 3):
        buffer.advance_to(seq)
    await asyncio.sleep(0.01)
    assert [one.seen for one in subscribers] == [[3]] * 3


async def test_change_during_a_flush_reaches_every_subscriber(fan_out: FanOut) -> None:
    buffer, subscribers = followed(fan_out, 3 * SUBSCRIBERS_AT_ONCE)
    buffer.advance_to(1)
    while not any(one.seen for one in subscribers):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not all(one.seen for one in subscribers)
    for seq in (2, 3):
        buffer.advance_to(seq)
    await asyncio.sleep(0.05)
    assert all(one.seen[-1] == 3 for one in subscribers)
    assert max(len(one.seen) for one in subscribers) == 2


async def test_job_with_many_subscribers_does_not_delay_another(fan_out: FanOut) -> None:
    busy, many = followed(fan_out, 50 * SUBSCRIBERS_AT_ONCE)
    quiet, few = followed(fan_out, 1)
    busy.advance_to(1)
    quiet.advance_to(1)
    while not few[0].seen:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert sum(bool(one.seen) for one in many) <= 2 * SUBSCRIBERS_AT_ONCE
