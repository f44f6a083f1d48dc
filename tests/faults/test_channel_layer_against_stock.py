"""Faults that our channel layer survives and that of channels_rabbitmq does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import kombu
import pytest

from tests.broker import PrivateBroker
from tests.faults.channel_layers import (
    HeimdallLayer,
    Kind,
    StockLayer,
    fails_on_stock,
    joined,
    new_group,
    opened,
    proxy,
    publish,
    receive_until,
    silent_peer,
)

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("layer"),
    pytest.mark.timeout(120),
    # Warnings about what the failing stock layer leaves behind.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:valid_:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def own_broker() -> Iterator[PrivateBroker]:
    broker = PrivateBroker().start()
    yield broker
    broker.close()


async def restart(broker: PrivateBroker) -> None:
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)


async def receives_within_retries(
    kind: Kind, layer: Any, url: str, channel: str, group: str
) -> None:
    """Publish until a message arrives, to give the layer time to reconnect."""
    for seq in range(1000, 1005):
        await publish(kind, url, group, [seq])
        try:
            return await receive_until(kind, layer, channel, seq, 0.7)
        except TimeoutError:
            continue
    raise AssertionError("the layer receives nothing any more")


@pytest.mark.parametrize("kind", [HeimdallLayer(), StockLayer()], ids=["ours", "stock"])
async def test_both_layers_deliver_without_a_fault(kind: Kind, own_broker: PrivateBroker) -> None:
    """Control: without it, the failures below could have another reason."""
    async with opened(kind, own_broker.url) as layer:
        channel = await joined(layer, group := new_group())
        await receives_within_retries(kind, layer, own_broker.url, channel, group)


@fails_on_stock("a message that is not its msgpack kills the task that reconnects, for good")
async def test_undecodable_message_does_not_stop_the_layer(
    kind: Kind, own_broker: PrivateBroker
) -> None:
    async with opened(kind, own_broker.url) as layer:
        channel = await joined(layer, group := new_group())
        key = f"a.b.{group.removeprefix('job.')}" if isinstance(kind, HeimdallLayer) else group
        with kombu.Connection(own_broker.url) as connection:
            connection.Producer().publish(b'{"json":', exchange=kind.exchange, routing_key=key)
        await receives_within_retries(kind, layer, own_broker.url, channel, group)


@fails_on_stock("a broker that is lost while local_capacity messages wait kills it (assert)")
async def test_reconnects_after_a_broker_restart_with_full_queue(
    kind: Kind, own_broker: PrivateBroker
) -> None:
    async with opened(kind, own_broker.url, local_capacity=10) as layer:
        channel = await joined(layer, group := new_group())
        await publish(kind, own_broker.url, group, range(50))
        await asyncio.sleep(0.3)
        await restart(own_broker)
        async with asyncio.timeout(10):
            await layer.carehare_connection
        await publish(kind, own_broker.url, group, range(50, 60))
        await asyncio.sleep(0.3)
        await receives_within_retries(kind, layer, own_broker.url, channel, group)


@fails_on_stock("a connection that is lost while it subscribes again kills it (TypeError)")
async def test_reconnects_when_the_connection_is_lost_during_rebinding(
    kind: Kind, own_broker: PrivateBroker
) -> None:
    async with proxy(own_broker.port) as (url, faulty), opened(kind, url) as layer:
        groups = [new_group() for _ in range(5)]
        channel = await joined(layer, *groups)
        faulty.cut_now_and_at_bind()
        await asyncio.sleep(1.5)
        await receives_within_retries(kind, layer, own_broker.url, channel, groups[0])


@fails_on_stock("a waiter that is cancelled while it reconnects poisons the future of all")
async def test_cancelled_sender_does_not_break_the_connection_for_others(
    kind: Kind, own_broker: PrivateBroker
) -> None:
    async with opened(kind, own_broker.url) as layer:
        channel = await joined(layer, group := new_group())
        await asyncio.to_thread(own_broker.kill)
        await asyncio.sleep(0.2)
        message = {"type": "x", "routing_key": "a.b.c", "body": b"{}"}
        waiting = asyncio.ensure_future(layer.group_send(group, message))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.to_thread(own_broker.start)
        await receives_within_retries(kind, layer, own_broker.url, channel, group)


@fails_on_stock("a peer that accepts without answering ends all reconnecting")
async def test_unresponsive_peer_does_not_prevent_reconnecting(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.channel_layer.HANDSHAKE_SECONDS", 0.3)
    async with silent_peer() as (url, accepted), opened(kind, url) as layer:
        layer.connect_timeout = 0.3
        adding = asyncio.ensure_future(layer.group_add(new_group(), await layer.new_channel()))
        await asyncio.sleep(2.5)
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)
        assert len(accepted) >= 2


@fails_on_stock("group_add and group_send hang while the broker is down")
async def test_group_add_and_send_do_not_block_while_the_broker_is_down(
    kind: Kind, own_broker: PrivateBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.channel_layer.RPC_SECONDS", 0.5)
    async with opened(kind, own_broker.url) as layer:
        await joined(layer, group := new_group())
        await asyncio.to_thread(own_broker.kill)
        try:
            async with asyncio.timeout(1.5):
                await layer.group_add(new_group(), await layer.new_channel())
                message = {"type": "x", "routing_key": "a.b.c", "body": b"{}"}
                await asyncio.gather(layer.group_send(group, message), return_exceptions=True)
        finally:
            await asyncio.to_thread(own_broker.start)


@fails_on_stock("the second join of a group returns before the first has bound the queue")
async def test_group_add_returns_only_once_the_group_is_bound(
    kind: Kind, own_broker: PrivateBroker
) -> None:
    async with proxy(own_broker.port) as (url, faulty), opened(kind, url) as layer:
        await joined(layer, new_group())
        faulty.bind_seconds = 0.3
        group, channels = new_group(), [await layer.new_channel() for _ in range(2)]
        first = asyncio.ensure_future(layer.group_add(group, channels[0]))
        await asyncio.sleep(0)
        await layer.group_add(group, channels[1])
        await publish(kind, own_broker.url, group, [1])
        await receive_until(kind, layer, channels[1], 1)
        await first


@fails_on_stock("leaving and joining at once loses the subscription")
async def test_concurrent_discard_and_add_keep_the_binding(
    kind: Kind, own_broker: PrivateBroker
) -> None:
    async with opened(kind, own_broker.url) as layer, kind.sender(own_broker.url) as send:
        groups = [new_group() for _ in range(200)]
        for group in groups:
            old = await joined(layer, group)
            new = await layer.new_channel()
            await asyncio.gather(layer.group_discard(group, old), layer.group_add(group, new))
            await send(group, [1])
            await receive_until(kind, layer, new, 1, 2)


@fails_on_stock("consumers that leave with messages waiting leak prefetch until all are deaf")
async def test_leaving_with_queued_messages_does_not_exhaust_the_prefetch(
    kind: Kind, own_broker: PrivateBroker
) -> None:
    async with opened(kind, own_broker.url, local_capacity=10) as layer:
        for _ in range(15):
            channel = await joined(layer, group := new_group())
            await publish(kind, own_broker.url, group, [1])
            await asyncio.sleep(0.02)
            await layer.group_discard(group, channel)
        channel = await joined(layer, group := new_group())
        await publish(kind, own_broker.url, group, [2])
        await receive_until(kind, layer, channel, 2)


@fails_on_stock("a burst loses even its last message, without an error")
async def test_last_message_of_a_burst_is_delivered(kind: Kind, own_broker: PrivateBroker) -> None:
    async with opened(kind, own_broker.url) as layer:
        channel = await joined(layer, group := new_group())
        await publish(kind, own_broker.url, group, range(3000))
        await receive_until(kind, layer, channel, 2999)


@fails_on_stock("one member that stops reading silences every other of its process")
async def test_stalled_member_does_not_block_others(kind: Kind, own_broker: PrivateBroker) -> None:
    async with opened(kind, own_broker.url) as layer:
        await joined(layer, stopped := new_group())
        channel = await joined(layer, reading := new_group())
        await publish(kind, own_broker.url, stopped, range(2500))
        await publish(kind, own_broker.url, reading, [1])
        await receive_until(kind, layer, channel, 1)


@fails_on_stock("// and pyamqp:// kill it, and escapes in the password hang it")
async def test_all_spellings_of_the_broker_url_connect(
    kind: Kind, own_broker: PrivateBroker
) -> None:
    for url in (f"pyamqp://guest:guest@127.0.0.1:{own_broker.port}//",
                f"amqp://gu%65st:guest@127.0.0.1:{own_broker.port}/"):  # fmt: skip
        async with opened(kind, url) as layer:
            layer.connect_timeout = 2
            channel = await joined(layer, group := new_group())
            await publish(kind, own_broker.url, group, [1])
            await receive_until(kind, layer, channel, 1)


@fails_on_stock("it refuses to be used from another event loop than its first")
def test_sending_works_from_several_event_loops(kind: Kind, own_broker: PrivateBroker) -> None:
    """Each `asyncio.run` creates a new event loop, as `async_to_sync` does."""
    if isinstance(kind, HeimdallLayer):
        for seq in range(2):
            asyncio.run(publish(kind, own_broker.url, new_group(), [seq]))
        return

    with asyncio.Runner() as first, asyncio.Runner() as second:
        layer = first.run(make_joined(kind, own_broker.url))
        try:
            second.run(layer.group_send("x", {"type": "x"}))
        finally:
            first.run(layer.close())


async def make_joined(kind: Kind, url: str) -> Any:
    layer = kind.make(url)
    await joined(layer, "x")
    return layer
