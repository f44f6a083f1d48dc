"""The channel layer on RabbitMQ: cancelled callers do not affect others."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from realtime import channel_layer
from realtime.channel_layer import TopicChannelLayer
from realtime.transport import AmqpTransport, job_group

pytestmark = [pytest.mark.rabbit, pytest.mark.timeout(60)]


@pytest.fixture
async def layer(amqp: str) -> AsyncIterator[TopicChannelLayer]:
    layer = TopicChannelLayer(amqp)
    yield layer
    await layer.close()


async def joined(layer: TopicChannelLayer) -> str:
    """A channel in a group, once the layer is connected."""
    channel = str(await layer.new_channel())
    await layer.group_add(job_group(uuid4()), channel)
    async with asyncio.timeout(20):
        await layer.carehare_connection
    assert (await layer.receive(channel))["type"] == "resync"
    return channel


async def received_seq(layer: TopicChannelLayer, amqp: str, channel: str, job: object) -> int:
    """Publish an event until it arrives, since the binding may be late."""
    transport = AmqpTransport(amqp)
    body = json.dumps({"event": "x", "seq": 7, "data": {"job_id": str(job)}}).encode()
    receiving = asyncio.ensure_future(layer.receive(channel))
    try:
        async with asyncio.timeout(20):
            while not receiving.done():
                await asyncio.to_thread(transport.send, f"training.progress.{job}", body)
                await asyncio.wait([receiving], timeout=0.1)
        return int(json.loads(receiving.result()["body"])["seq"])
    finally:
        receiving.cancel()
        transport.close()


async def test_cancelled_joins_leave_the_connection_and_are_bound(
    layer: TopicChannelLayer, amqp: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    channel = await joined(layer)
    connection = await layer.carehare_connection
    jobs = [uuid4() for _ in range(40)]
    for turns, job in enumerate(jobs):
        joining = asyncio.ensure_future(layer.group_add(job_group(job), channel))
        for _ in range(1 + turns % 4):  # at each point of the call
            await asyncio.sleep(0)
        joining.cancel()
    assert await received_seq(layer, amqp, channel, jobs[-1]) == 7
    assert not connection.closed.done()
    assert caplog.text == ""


async def test_late_bindings_keep_the_connection_and_are_made(
    layer: TopicChannelLayer, amqp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await joined(layer)
    connection = await layer.carehare_connection
    job = uuid4()
    monkeypatch.setattr(channel_layer, "RPC_SECONDS", 0)
    await layer.group_add(job_group(job), channel)
    assert await received_seq(layer, amqp, channel, job) == 7
    assert not connection.closed.done()


async def test_cancelled_publish_keeps_the_connection(layer: TopicChannelLayer, amqp: str) -> None:
    channel = await joined(layer)
    connection = await layer.carehare_connection
    for _ in range(20):
        message = {"type": "frame", "routing_key": "training.progress.x", "body": b"{}"}
        sending = asyncio.ensure_future(layer.group_send("all", message))  # type: ignore[arg-type]
        for _ in range(3):
            await asyncio.sleep(0)
        sending.cancel()
    job = uuid4()
    await layer.group_add(job_group(job), channel)
    assert await received_seq(layer, amqp, channel, job) == 7
    assert not connection.closed.done()


async def test_concurrent_leave_and_join_keep_the_binding(
    layer: TopicChannelLayer, amqp: str
) -> None:
    channel, job = await joined(layer), uuid4()
    for _ in range(20):
        await layer.group_add(job_group(job), channel)
        leaving = asyncio.ensure_future(layer.group_discard(job_group(job), channel))
        await asyncio.sleep(0)
        await layer.group_add(job_group(job), channel)
        leaving.cancel()
    assert await received_seq(layer, amqp, channel, job) == 7
