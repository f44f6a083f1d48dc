"""Many WebSocket clients in one process: python -m benchmarks.websocket_load < OPTIONS.

Reads `{port, token, paths, frames}` from stdin, opens a WebSocket for each path, and prints `open`
when all are connected. After `frames` frames per client, not counting the first, it prints the
seconds between the first and the last frame, and the latency of each frame by its `timestamp`. It
parses frames itself, because a library's work would be measured as well.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from datetime import datetime
from typing import Any

CONCURRENT_HANDSHAKES = 50
TIMEOUT_SECONDS = 90
PING, PONG = 0x89, 0x8A
STAMP = b'"timestamp":"'


class Client(asyncio.Protocol):
    """One WebSocket; it only reads."""

    def __init__(self, request: bytes, frames: int) -> None:
        self._request, self._expected = request, frames
        self._buffer = b""
        self._upgraded = False
        self.received: list[tuple[float, bytes]] = []
        loop = asyncio.get_running_loop()
        self.open: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        data = self._buffer + data
        if not self._upgraded:
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = head
                return
            assert b" 101 " in head, head
            self._upgraded = True
        start, length = 0, len(data)
        # Inlined: a call per frame would make the reader slower than the server.
        while length >= start + 4:
            size, payload = data[start + 1], start + 2
            if size == 126:
                size, payload = data[start + 2] << 8 | data[start + 3], start + 4
            end = payload + size
            if end > length:
                break
            if data[start] == PING:
                self._transport.write(bytes([PONG, 0x80 | size, 0, 0, 0, 0]) + data[payload:end])
            else:
                at = data.find(STAMP, payload, end) + len(STAMP)
                self.received.append((now, data[at : at + 27]))
            start = end
        self._buffer = data[start:]
        self._update_futures()

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.open, self.done):
            if not future.done():
                future.set_exception(ConnectionError(f"closed after {len(self.received)}: {error}"))

    def _update_futures(self) -> None:
        """The first frame reports that the connection is open."""
        if self.received and not self.open.done():
            self.open.set_result(None)
        if len(self.received) > self._expected and not self.done.done():
            self.done.set_result(None)


def handshake(port: int, path: str, token: str) -> bytes:
    key = base64.b64encode(b"sixteen bytes ok").decode()
    lines = [
        f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket",
        "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {token}", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


def latency(received: float, stamp: bytes) -> float:
    return received - datetime.fromisoformat(stamp.decode()).timestamp()


async def main() -> None:
    options: dict[str, Any] = json.loads(sys.stdin.readline())
    loop, semaphore = asyncio.get_running_loop(), asyncio.Semaphore(CONCURRENT_HANDSHAKES)

    async def connect(path: str) -> Client:
        request = handshake(options["port"], path, options["token"])
        async with semaphore:
            _, client = await loop.create_connection(
                lambda: Client(request, options["frames"]), "127.0.0.1", options["port"]
            )
            await client.open
        return client

    clients = await asyncio.gather(*map(connect, options["paths"]))
    print("open", flush=True)
    await asyncio.wait_for(asyncio.gather(*(client.done for client in clients)), TIMEOUT_SECONDS)
    received = [frame for client in clients for frame in client.received[1:]]
    times = [at for at, _ in received]
    print(json.dumps({"seconds": max(times) - min(times),
                      "latencies": [latency(*frame) for frame in received]}))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
