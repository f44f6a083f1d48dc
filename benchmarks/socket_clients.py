"""Thousands of WebSockets of one process: python -m benchmarks.socket_clients < COMMANDS.

The first line of stdin is an `Options` as JSON. Each socket connects from one of several loopback
addresses, since an address has too few ports. A socket that is closed reconnects after the last seq
it has, as a page does. Commands are lines: `measure` begins a measurement, `report` prints a
`Report` as JSON. `open` is printed whenever all sockets are connected.

It polls sockets and parses frames itself, because this machine also runs the server.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import sys
import time
from array import array
from collections.abc import Iterator
from statistics import quantiles

from pydantic import BaseModel

RETRY_SECONDS = 0.25
CONCURRENT_HANDSHAKES = 128
HANDSHAKE_SECONDS = 10.0
READ_BYTES = 65_536
PING, CLOSE, PONG = 0x89, 0x88, 0x8A
SEQ, STAMP = b'"seq":', b'"timestamp":"'
MINUTE = 60.0


class Options(BaseModel):
    address: str
    port: int
    token: str
    jobs: list[str]
    sockets: int
    sources: list[str]


class Report(BaseModel):
    frames: int
    p50_ms: float
    p99_ms: float
    seconds: float
    cpu_seconds: float
    gaps: int  # events that were skipped
    repeated: int
    seqs: dict[str, list[int]]  # by job: the lowest and highest of the last seqs of its sockets
    all_open_at: float
    closed: int


class Client:
    """One WebSocket and the last seq it has."""

    def __init__(self, job: str, source: str) -> None:
        self.job, self.source = job, source
        self.seq = 0
        self.started = 0.0
        self.is_open = self.has_sent = False
        self.buffer = b""
        self.socket: socket.socket | None = None


class Clients:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._epoll = select.epoll()
        self._clients = [
            Client(options.jobs[index % len(options.jobs)],
                   options.sources[index % len(options.sources)])
            for index in range(options.sockets)
        ]  # fmt: skip
        self._by_descriptor: dict[int, Client] = {}
        self._waiting = list(reversed(self._clients))
        self._handshakes: dict[int, Client] = {}
        self._retry_at = 0.0
        self._open = self._closed = 0
        self._all_open_at = 0.0
        self._reset()

    def _reset(self) -> None:
        self._latencies = array("d")
        self._gaps = self._repeated = self._closed = 0
        self._since, self._cpu_since = time.time(), time.process_time()

    def run(self) -> None:
        commands = sys.stdin.fileno()
        self._epoll.register(commands, select.EPOLLIN)
        while True:
            self._connect_some()
            busy = self._waiting or self._handshakes
            for descriptor, _ in self._epoll.poll(0.02 if busy else 1.0, 1024):
                if descriptor != commands:
                    self._handle(descriptor)
                    continue
                command = os.read(commands, 100).decode()
                if not command:
                    return
                if command.startswith("measure"):
                    self._reset()
                else:
                    print(self._report().model_dump_json(), flush=True)

    def _connect_some(self) -> None:
        now = time.time()
        while self._waiting and now >= self._retry_at:
            if len(self._handshakes) >= CONCURRENT_HANDSHAKES:
                break
            self._connect(self._waiting.pop())
        if self._handshakes:
            late = now - HANDSHAKE_SECONDS
            for client in [one for one in self._handshakes.values() if one.started < late]:
                self._lose(client)

    def _connect(self, client: Client) -> None:
        client.socket = opened = socket.socket()
        client.started, client.buffer, client.has_sent = time.time(), b"", False
        opened.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        opened.bind((client.source, 0))
        opened.setblocking(False)
        opened.connect_ex((self._options.address, self._options.port))
        descriptor = opened.fileno()
        self._by_descriptor[descriptor] = self._handshakes[descriptor] = client
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLOUT)

    def _handle(self, descriptor: int) -> None:
        client = self._by_descriptor.get(descriptor)
        if client is None or client.socket is None:
            return
        try:
            if client.has_sent:
                self._read(descriptor, client, client.socket)
            else:
                client.socket.send(self._request(client))
                client.has_sent = True
                self._epoll.modify(descriptor, select.EPOLLIN)
        except BlockingIOError:
            return
        except OSError:
            self._lose(client)

    def _request(self, client: Client) -> bytes:
        options = self._options
        key = base64.b64encode(b"sixteen bytes ok").decode()
        lines = [
            f"GET /ws/training/{client.job}?after={client.seq} HTTP/1.1",
            f"Host: {options.address}:{options.port}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
            f"Authorization: Bearer {options.token}", "", "",
        ]  # fmt: skip
        return "\r\n".join(lines).encode()

    def _lose(self, client: Client) -> None:
        if client.socket is not None:
            descriptor = client.socket.fileno()
            self._by_descriptor.pop(descriptor, None)
            self._handshakes.pop(descriptor, None)
            client.socket.close()
            client.socket = None
        if client.is_open:
            client.is_open = False
            self._open -= 1
            self._closed += 1
        self._waiting.append(client)
        self._retry_at = time.time() + RETRY_SECONDS

    def _read(self, descriptor: int, client: Client, opened: socket.socket) -> None:
        data = opened.recv(READ_BYTES)
        if not data:
            self._lose(client)
            return
        data = client.buffer + data if client.buffer else data
        if not client.is_open:
            head, separator, rest = data.partition(b"\r\n\r\n")
            if not separator or not rest:  # the first frame shows that the server accepted
                client.buffer = data
                return
            if b" 101 " not in head:
                self._lose(client)
                return
            data = rest
            self._accept(descriptor, client)
        self._parse(client, data)

    def _accept(self, descriptor: int, client: Client) -> None:
        client.is_open = True
        self._handshakes.pop(descriptor, None)
        self._open += 1
        if self._open == len(self._clients):
            self._all_open_at = time.time()
            print("open", flush=True)

    def _parse(self, client: Client, data: bytes) -> None:
        now = time.time() % MINUTE
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
                pong = bytes([PONG, 0x80 | size, 0, 0, 0, 0]) + data[payload:end]
                client.socket.send(pong)  # type: ignore[union-attr]
            elif (at := data.find(STAMP, payload, end)) > 0:
                found = data.find(SEQ, payload, end)
                if found > 0:
                    found += len(SEQ)
                    seq = int(data[found : data.find(b",", found, end)])
                    if seq <= client.seq:
                        self._repeated += 1
                    else:
                        self._gaps += seq - client.seq - 1
                        client.seq = seq
                at += len(STAMP)
                self._latencies.append((now - float(data[at + 17 : at + 26])) % MINUTE)
            start = end
        client.buffer = data[start:]

    def _report(self) -> Report:
        cuts = quantiles(self._latencies, n=100) if len(self._latencies) > 1 else [0.0] * 99
        return Report(
            frames=len(self._latencies), p50_ms=1000 * cuts[49], p99_ms=1000 * cuts[98],
            seconds=time.time() - self._since, cpu_seconds=time.process_time() - self._cpu_since,
            gaps=self._gaps, repeated=self._repeated, seqs=dict(self._seqs()),
            all_open_at=self._all_open_at if self._open == len(self._clients) else 0.0,
            closed=self._closed,
        )  # fmt: skip

    def _seqs(self) -> Iterator[tuple[str, list[int]]]:
        for job in self._options.jobs:
            seqs = [client.seq for client in self._clients if client.job == job]
            yield job, [min(seqs), max(seqs)]


if __name__ == "__main__":
    Clients(Options.model_validate_json(sys.stdin.readline())).run()
