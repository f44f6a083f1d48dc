"""A common interface to our channel layer and that of channels_rabbitmq, and faulty peers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from channels.exceptions import ChannelFull
from channels_rabbitmq.core import RabbitmqChannelLayer

from realtime.channel_layer import TopicChannelLayer
from realtime.transport import AmqpTransport, job_group

QUEUE_BIND = b"\x00\x32\x00\x14"  # class 50, method 20
Sender = Callable[[str, Sequence[int]], Awaitable[None]]


class HeimdallLayer:
    """Messages are event frames, published by a transport as in a worker."""

    exchange = "heimdall.events"

    @staticmethod
    def make(url: str, **capacity: int) -> TopicChannelLayer:
        return TopicChannelLayer(url, **capacity)

    @asynccontextmanager
    async def sender(self, url: str) -> AsyncIterator[Sender]:
        transport = AmqpTransport(url)

        async def send(group: str, seqs: Sequence[int]) -> None:
            await asyncio.to_thread(send_all, group.removeprefix("job."), seqs)

        def send_all(job_id: str, seqs: Sequence[int]) -> None:
            for seq in seqs:
                body = json.dumps({"seq": seq, "data": {"job_id": job_id}}).encode()
                transport.send(f"training.progress.{job_id}", body)

        yield send
        await asyncio.to_thread(transport.close)

    @staticmethod
    def seq_of(message: dict[str, Any]) -> int | None:
        return int(json.loads(message["body"])["seq"]) if message["type"] == "frame" else None


class StockLayer:
    """Messages have the format of channels_rabbitmq and are sent by a layer."""

    exchange = "groups"

    @staticmethod
    def make(url: str, **capacity: int) -> RabbitmqChannelLayer:
        return RabbitmqChannelLayer(url, **capacity)

    @asynccontextmanager
    async def sender(self, url: str) -> AsyncIterator[Sender]:
        async with opened(self, url) as layer:
            await layer.carehare_connection

            async def send(group: str, seqs: Sequence[int]) -> None:
                messages = (layer.group_send(group, {"type": "x", "seq": seq}) for seq in seqs)
                for error in await asyncio.gather(*messages, return_exceptions=True):
                    assert error is None or isinstance(error, ChannelFull), error

            yield send

    @staticmethod
    def seq_of(message: dict[str, Any]) -> int | None:
        return int(message["seq"])


Kind = HeimdallLayer | StockLayer


async def publish(kind: Kind, url: str, group: str, seqs: Sequence[int]) -> None:
    async with kind.sender(url) as send:
        await send(group, seqs)


def fails_on_stock(reason: str) -> pytest.MarkDecorator:
    """Run a test on both layers: it has to pass on ours and to fail on the stock layer."""
    fails = pytest.mark.xfail(reason=reason, strict=True)
    return pytest.mark.parametrize(
        "kind",
        [
            pytest.param(HeimdallLayer(), id="ours"),
            pytest.param(StockLayer(), id="stock", marks=fails),
        ],
    )


@asynccontextmanager
async def opened(kind: Kind, url: str, **capacity: int) -> AsyncIterator[Any]:
    """Open a layer; on exit close it and its sockets, even if closing the layer hangs."""
    loop, transports = asyncio.get_running_loop(), []
    connect = loop.create_connection

    async def recording(*args: Any, **kwargs: Any) -> Any:
        transport, protocol = await connect(*args, **kwargs)
        transports.append(transport)
        return transport, protocol

    loop.create_connection = recording  # type: ignore[method-assign]
    layer = kind.make(url, **capacity)
    try:
        yield layer
    finally:
        loop.create_connection = connect  # type: ignore[method-assign]
        with contextlib.suppress(Exception, asyncio.CancelledError):
            async with asyncio.timeout(2):
                await layer.close()
        task = layer.__dict__.get("_reconnect_forever_task")
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)


def new_group() -> str:
    return job_group(uuid4())


async def joined(layer: Any, *groups: str) -> str:
    """Return a new channel in these groups, once the layer is connected."""
    channel = await layer.new_channel()
    async with asyncio.timeout(10):
        for group in groups:
            await layer.group_add(group, channel)
        await layer.carehare_connection
    return str(channel)


async def receive_until(kind: Kind, layer: Any, channel: str, seq: int, seconds: float = 3) -> None:
    """Receive messages until this seq arrives."""
    async with asyncio.timeout(seconds):
        while kind.seq_of(await layer.receive(channel)) != seq:
            pass


class FaultyProxy:
    """A TCP proxy in front of the broker that delays and cuts connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: list[Any] = []
        self._cut_at_bind = False
        self.bind_seconds = 0.0  # delay of each queue_bind

    def cut_now_and_at_bind(self) -> None:
        """Cut now, and once more when the layer binds its groups again."""
        self._cut_at_bind = True
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def end(self) -> None:
        """Close all connections, which would otherwise raise warnings in a later test."""
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.current_task())
        self._writers.add(writer)
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.add(broker_writer)
        pumps = self._pump(reader, broker_writer), self._pump(broker_reader, writer)
        await asyncio.gather(*pumps, return_exceptions=True)
        await closed(writer, broker_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if QUEUE_BIND in data:
                await asyncio.sleep(self.bind_seconds)
                if self._cut_at_bind:
                    self._cut_at_bind = False
                    return self.cut()
            writer.write(data)
        writer.close()
        return None


async def closed(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


def address(server: asyncio.Server) -> str:
    return f"amqp://guest:guest@127.0.0.1:{server.sockets[0].getsockname()[1]}/%2F"


@asynccontextmanager
async def silent_peer() -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that accepts connections and never sends: its URL and the connections so far."""
    accepted: list[Any] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(asyncio.current_task())
        await reader.read()
        await closed(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield address(server), accepted
    finally:
        server.close()
        await asyncio.gather(*accepted, return_exceptions=True)


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[tuple[str, FaultyProxy]]:
    """A proxy to the broker on that port, with its URL."""
    faulty = FaultyProxy(port)
    server = await asyncio.start_server(faulty.accept, "127.0.0.1", 0)
    try:
        yield address(server), faulty
    finally:
        server.close()
        await faulty.end()
