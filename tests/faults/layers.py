"""Two channel layers under one face: the one we ship, and the one of the package."""

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


class Ours:
    """Messages are the frames of events, published by a transport as a worker does."""

    exchange = "heimdall.events"

    @staticmethod
    def make(url: str, **capacity: int) -> TopicChannelLayer:
        return TopicChannelLayer(url, **capacity)

    @asynccontextmanager
    async def sender(self, url: str) -> AsyncIterator[Sender]:
        line = AmqpTransport(url)

        async def send(group: str, seqs: Sequence[int]) -> None:
            await asyncio.to_thread(send_all, group.removeprefix("job."), seqs)

        def send_all(job_id: str, seqs: Sequence[int]) -> None:
            for seq in seqs:
                body = json.dumps({"seq": seq, "data": {"job_id": job_id}}).encode()
                line.send(f"training.progress.{job_id}", body)

        yield send
        await asyncio.to_thread(line.close)

    @staticmethod
    def seq_of(message: dict[str, Any]) -> int | None:
        return int(json.loads(message["body"])["seq"]) if message["type"] == "frame" else None


class Stock:
    """Messages are the package's own, sent by a layer."""

    exchange = "groups"

    @staticmethod
    def make(url: str, **capacity: int) -> RabbitmqChannelLayer:
        return RabbitmqChannelLayer(url, **capacity)

    @asynccontextmanager
    async def sender(self, url: str) -> AsyncIterator[Sender]:
        async with opened(self, url) as layer:
            await layer.carehare_connection

            async def send(group: str, seqs: Sequence[int]) -> None:
                messages = (layer.group_send(group, {"type": "x", "seq": one}) for one in seqs)
                for refused in await asyncio.gather(*messages, return_exceptions=True):
                    assert refused is None or isinstance(refused, ChannelFull), refused

            yield send

    @staticmethod
    def seq_of(message: dict[str, Any]) -> int | None:
        return int(message["seq"])


Kind = Ours | Stock


async def publish(kind: Kind, url: str, group: str, seqs: Sequence[int]) -> None:
    async with kind.sender(url) as send:
        await send(group, seqs)


def shown_by_stock(why: str) -> pytest.MarkDecorator:
    """Run a test on both layers: it has to pass on ours, and to fail on the package's own."""
    fails = pytest.mark.xfail(reason=why, strict=True)
    return pytest.mark.parametrize(
        "kind", [pytest.param(Ours(), id="ours"), pytest.param(Stock(), id="stock", marks=fails)]
    )


@asynccontextmanager
async def opened(kind: Kind, url: str, **capacity: int) -> AsyncIterator[Any]:
    """A layer, closed within a moment even where that hangs, and its sockets with it."""
    loop, made = asyncio.get_running_loop(), []
    connect = loop.create_connection

    async def noted(*args: Any, **named: Any) -> Any:
        transport, protocol = await connect(*args, **named)
        made.append(transport)
        return transport, protocol

    loop.create_connection = noted  # type: ignore[method-assign]
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
        for transport in made:
            transport.abort()
        await asyncio.sleep(0)


def new_group() -> str:
    return job_group(uuid4())


async def joined(layer: Any, *groups: str) -> str:
    """A channel in these groups, on a connection that stands."""
    channel = await layer.new_channel()
    async with asyncio.timeout(10):
        for group in groups:
            await layer.group_add(group, channel)
        await layer.carehare_connection
    return str(channel)


async def hears(kind: Kind, layer: Any, channel: str, seq: int, seconds: float = 3) -> None:
    """Read on until this seq has come."""
    async with asyncio.timeout(seconds):
        while kind.seq_of(await layer.receive(channel)) != seq:
            pass


class Way:
    """To the broker, and how it can be disturbed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lines: set[asyncio.StreamWriter] = set()
        self._served: list[Any] = []
        self._cut_at_bind = False
        self.bind_seconds = 0.0  # how long a binding is held back

    def cut_now_and_at_bind(self) -> None:
        """And once more where the layer subscribes again."""
        self._cut_at_bind = True
        self.cut()

    def cut(self) -> None:
        for line in self._lines:
            line.transport.abort()
        self._lines.clear()

    async def end(self) -> None:
        """None is left open when the loop ends: a later test would be blamed for it."""
        self.cut()
        await asyncio.gather(*self._served, return_exceptions=True)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served.append(asyncio.current_task())
        self._lines.add(writer)
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._lines.add(back)
        ways = self._pump(reader, back), self._pump(there, writer)
        await asyncio.gather(*ways, return_exceptions=True)
        await closed(writer, back)

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
    """The address of one that accepts and says nothing, and who has come so far."""
    met: list[Any] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(asyncio.current_task())
        await reader.read()
        await closed(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield address(server), met
    finally:
        server.close()
        await asyncio.gather(*met, return_exceptions=True)


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[tuple[str, Way]]:
    """The address of a way to the broker on that port."""
    way = Way(port)
    server = await asyncio.start_server(way.accept, "127.0.0.1", 0)
    try:
        yield address(server), way
    finally:
        server.close()
        await way.end()
