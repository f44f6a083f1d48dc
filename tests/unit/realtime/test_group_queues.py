from __future__ import annotations

import asyncio

import pytest
from channels.exceptions import StopConsumer

from realtime.group_queues import GroupQueues, Message


def message(number: int) -> Message:
    return {"type": "frame", "body": b"%d" % number}


async def test_group_message_reaches_every_member() -> None:
    queues = GroupQueues(capacity=3)
    queues.group_add("job", "one")
    queues.group_add("job", "two")
    queues.send_to_group("job", message(1))
    assert await queues.receive("one") == await queues.receive("two") == message(1)


async def test_full_queue_drops_the_oldest_messages() -> None:
    queues = GroupQueues(capacity=3)
    queues.group_add("job", "asleep")
    for n in range(1000):
        queues.send_to_group("job", message(n))
    assert [await queues.receive("asleep") for _ in range(3)] == [
        message(number) for number in (997, 998, 999)
    ]


async def test_leaving_the_last_group_discards_queued_messages() -> None:
    queues = GroupQueues(capacity=3)
    queues.group_add("job", "one")
    queues.send_to_group("job", message(1))
    assert queues.group_discard("job", "one") == 0
    assert queues.groups() == set()
    queues.group_add("job", "one")
    queues.send_to_group("job", message(2))
    assert await queues.receive("one") == message(2)


async def test_close_raises_stop_consumer_in_readers() -> None:
    queues = GroupQueues(capacity=3)
    queues.group_add("job", "one")
    queues.close()
    with pytest.raises(StopConsumer):
        await queues.receive("one")


async def test_waiting_reader_receives_messages_of_a_group_joined_later() -> None:
    """As the hub does whenever its last watcher goes and the next comes."""
    queues = GroupQueues(capacity=3)
    queues.group_add("everything", "hub")
    reading = asyncio.ensure_future(queues.receive("hub"))
    await asyncio.sleep(0)
    queues.group_discard("everything", "hub")
    queues.group_add("job", "hub")
    queues.send_to_group("job", message(1))
    assert await asyncio.wait_for(reading, 1) == message(1)
