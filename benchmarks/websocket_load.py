"""Many sockets in one light process: python -m benchmarks.websocket_load, told on stdin what to do.

It reads `{port, token, paths, frames}`, opens a socket for each path, says `open` once all are,
and ends when each has had so many frames after the first. It prints when the frames came: the last
minus the first, and of each the time since the `timestamp` in it. It parses frames itself:
a library's work on them would be measured in their place.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from datetime import datetime
from typing import Any

AT_ONCE = 50  # that shake hands
MOST_SECONDS = 90
PING, PONG = 0x89, 0x8A
STAMP = b'"timestamp":"'


class Client(asyncio.Protocol):
    """One socket; it only reads."""

    def __init__(self, request: bytes, frames: int) -> None:
        self._request, self._expected = request, frames
        self._buffer = b""
        self._shaken = False
        self.came: list[tuple[float, bytes]] = []
        loop = asyncio.get_running_loop()
        self.open: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        data = self._buffer + data
        if not self._shaken:
            head, between, data = data.partition(b"\r\n\r\n")
            if not between:
                self._buffer = head
                return
            assert b" 101 " in head, head
            self._shaken = True
        start, length = 0, len(data)
        # No call for each frame: the reader would be slower than what it measures.
        while length >= start + 4:
            size, head = data[start + 1], start + 2
            if size == 126:
                size, head = data[start + 2] << 8 | data[start + 3], start + 4
            end = head + size
            if end > length:
                break
            if data[start] == PING:
                self._transport.write(bytes([PONG, 0x80 | size, 0, 0, 0, 0]) + data[head:end])
            else:
                at = data.find(STAMP, head, end) + len(STAMP)
                self.came.append((now, data[at : at + 27]))
            start = end
        self._buffer = data[start:]
        self._look()

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.open, self.done):
            if not future.done():
                future.set_exception(ConnectionError(f"closed after {len(self.came)}: {error}"))

    def _look(self) -> None:
        """The first frame says that it is open."""
        if self.came and not self.open.done():
            self.open.set_result(None)
        if len(self.came) > self._expected and not self.done.done():
            self.done.set_result(None)


def handshake(port: int, path: str, token: str) -> bytes:
    key = base64.b64encode(b"sixteen bytes ok").decode()
    lines = [
        f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket",
        "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {token}", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def latency(came: float, stamp: bytes) -> float:
    return came - datetime.fromisoformat(stamp.decode()).timestamp()


async def main() -> None:
    wish: dict[str, Any] = json.loads(sys.stdin.readline())
    loop, turn = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

    async def opened(path: str) -> Client:
        request = handshake(wish["port"], path, wish["token"])
        async with turn:
            _, client = await loop.create_connection(
                lambda: Client(request, wish["frames"]), "127.0.0.1", wish["port"]
            )
            await client.open
        return client

    clients = await asyncio.gather(*map(opened, wish["paths"]))
    print("open", flush=True)
    await asyncio.wait_for(asyncio.gather(*(one.done for one in clients)), MOST_SECONDS)
    came = [frame for client in clients for frame in client.came[1:]]
    moments = [moment for moment, _ in came]
    print(json.dumps({"seconds": max(moments) - min(moments),
                      "latencies": [latency(*frame) for frame in came]}))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
