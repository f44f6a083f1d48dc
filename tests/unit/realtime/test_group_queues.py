from __future__ import annotations

import asyncio

import pytest
from channels.exceptions import StopConsumer

from realtime.group_queues import GroupQueues


async def test_every_member_of_a_group_hears_it() -> None:
    boxes = GroupQueues(capacity=3)
    boxes.group_add("job", "one")
    boxes.group_add("job", "two")
    boxes.to_group("job", {"n": 1})
    assert await boxes.get("one") == await boxes.get("two") == {"n": 1}


async def test_who_does_not_read_loses_the_oldest_and_holds_up_nobody() -> None:
    boxes = GroupQueues(capacity=3)
    boxes.group_add("job", "asleep")
    for n in range(1000):
        boxes.to_group("job", {"n": n})
    assert [(await boxes.get("asleep"))["n"] for _ in range(3)] == [997, 998, 999]


async def test_what_waited_for_who_left_is_forgotten() -> None:
    boxes = GroupQueues(capacity=3)
    boxes.group_add("job", "one")
    boxes.to_group("job", {"n": 1})
    assert boxes.group_discard("job", "one") == 0
    assert boxes.groups() == set()
    boxes.group_add("job", "one")
    boxes.to_group("job", {"n": 2})
    assert await boxes.get("one") == {"n": 2}


async def test_a_closed_layer_ends_its_readers() -> None:
    boxes = GroupQueues(capacity=3)
    boxes.group_add("job", "one")
    boxes.close()
    with pytest.raises(StopConsumer):
        await boxes.get("one")


async def test_a_reader_that_leaves_its_last_group_and_joins_another_hears_that() -> None:
    """As the hub does whenever its last watcher goes and the next comes."""
    boxes = GroupQueues(capacity=3)
    boxes.group_add("everything", "hub")
    reading = asyncio.ensure_future(boxes.get("hub"))
    await asyncio.sleep(0)
    boxes.group_discard("everything", "hub")
    boxes.group_add("job", "hub")
    boxes.to_group("job", {"n": 1})
    assert await asyncio.wait_for(reading, 1) == {"n": 1}
