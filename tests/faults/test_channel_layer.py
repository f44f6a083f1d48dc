"""The channel layer during failures of a private broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import uuid4

import kombu
import pytest

from realtime.channel_layer import TopicChannelLayer
from realtime.transport import AmqpTransport, job_group
from tests.broker import PrivateBroker

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("layer"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def own_broker() -> Any:
    broker = PrivateBroker().start()
    yield broker
    broker.close()


@pytest.fixture
async def layer(own_broker: PrivateBroker) -> AsyncIterator[TopicChannelLayer]:
    layer = TopicChannelLayer(own_broker.url)
    yield layer
    await layer.close()


def body(job_id: object, seq: int) -> bytes:
    return json.dumps({"event": "x", "seq": seq, "data": {"job_id": str(job_id)}}).encode()


async def publish(url: str, routing_key: str, *bodies: bytes) -> None:
    def send() -> None:
        transport = AmqpTransport(url)
        for body in bodies:
            transport.send(routing_key, body)
        transport.close()

    await asyncio.to_thread(send)


async def next_seq(layer: TopicChannelLayer, channel: str, seconds: float = 20) -> int:
    async with asyncio.timeout(seconds):
        while True:
            message = await layer.receive(channel)
            if message["type"] == "frame":
                return int(json.loads(message["body"])["seq"])


async def joined(layer: TopicChannelLayer, *groups: str) -> str:
    channel = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    async with asyncio.timeout(20):
        await layer.carehare_connection
    return str(channel)


async def test_group_receives_only_its_own_job(
    layer: TopicChannelLayer, own_broker: PrivateBroker
) -> None:
    job, other = uuid4(), uuid4()
    channel = await joined(layer, job_group(job))
    await publish(own_broker.url, f"training.progress.{other}", body(other, 9))
    await publish(own_broker.url, f"training.progress.{job}", body(job, 1))
    assert await next_seq(layer, channel) == 1


async def test_restarted_broker_is_reconnected_and_members_resync(
    own_broker: PrivateBroker, layer: TopicChannelLayer
) -> None:
    job = uuid4()
    channel = await joined(layer, job_group(job))
    assert (await layer.receive(channel))["type"] == "resync"  # after the first connection
    await asyncio.to_thread(own_broker.kill)
    late = await layer.new_channel()
    async with asyncio.timeout(1):  # joining does not wait for the broker
        await layer.group_add(job_group(job), late)
    await asyncio.to_thread(own_broker.start)
    async with asyncio.timeout(30):
        for member in (channel, late):
            assert (await layer.receive(member))["type"] == "resync"
    await publish(own_broker.url, f"training.progress.{job}", body(job, 1))
    for member in (channel, late):
        assert await next_seq(layer, member) == 1


async def test_burst_of_2000_messages_arrives_complete(
    layer: TopicChannelLayer, own_broker: PrivateBroker
) -> None:
    job = uuid4()
    channel = await joined(layer, job_group(job))
    bodies = [body(job, seq) for seq in range(1, 2001)]
    sending = asyncio.ensure_future(publish(own_broker.url, f"training.progress.{job}", *bodies))
    assert [await next_seq(layer, channel) for _ in range(2000)] == list(range(1, 2001))
    await sending


async def test_group_send_rejects_messages_that_are_not_event_frames(
    layer: TopicChannelLayer,
) -> None:
    with pytest.raises(ValueError, match="Only event frames"):
        await layer.group_send("job.x", {"type": "chat"})  # type: ignore[typeddict-item]


async def test_publish_to_a_frozen_broker_times_out(
    own_broker: PrivateBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.transport.TIMEOUT_SECONDS", 0.5)
    transport = AmqpTransport(own_broker.url)
    await asyncio.to_thread(transport.send, "training.progress.x", b"{}")
    own_broker.freeze()
    try:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises((OSError, kombu.exceptions.KombuError)):
            await asyncio.to_thread(partial(transport.send, "training.progress.x", b"{}"))
        assert loop.time() - began < 20
    finally:
        own_broker.thaw()
        transport.close()
