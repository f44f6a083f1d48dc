"""Clients that follow the events of jobs through reconnects."""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from websockets.exceptions import WebSocketException

from tests.sockets import open_socket
from tests.stack import Stack

Events = list[dict[str, Any]]
FINAL = ("completed", "cancelled")  # a failed job may be resumed
POLL_SECONDS = 0.5
DISCONNECTED = (WebSocketException, httpx.HTTPError, OSError, EOFError)


class EventClient(ABC):
    """Follows one job until it is completed or cancelled, and checks that no `seq` is missing."""

    def __init__(
        self,
        choose_web: Callable[[], Stack],
        job_id: str,
        lifetime: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`lifetime`: after how many seconds the client ends its connection and reconnects."""
        self._choose_web, self._job_id, self._lifetime = choose_web, job_id, lifetime
        self.events: Events = []
        self.connections = self.resets = 0

    @property
    def query(self) -> str:
        last = self.events[-1] if self.events else {"seq": 0, "timestamp": ""}
        return urlencode({"after": last["seq"], "timestamp": last["timestamp"]})

    @property
    def ended(self) -> bool:
        if not self.events or self.events[-1]["event"] != "training:completed":
            return False
        return self.events[-1]["data"]["status"] in FINAL

    async def follow(self) -> None:
        while not self.ended:
            self.connections += 1
            try:
                async with asyncio.timeout(self._lifetime()):
                    await self._receive(self._choose_web())
            except DISCONNECTED:
                pass
            await asyncio.sleep(0.1)

    @abstractmethod
    async def _receive(self, web: Stack) -> None:
        """Receive events on one connection until the job or the connection ends."""

    def _take(self, received: dict[str, Any]) -> None:
        if received["event"] == "connected" and received["data"].get("reset"):
            self.events.clear()
            self.resets += 1
        if "seq" in received:
            expected = len(self.events) + 1
            assert received["seq"] == expected, f"{received} instead of event {expected}"
            self.events.append(received)


class SocketClient(EventClient):
    async def _receive(self, web: Stack) -> None:
        async with open_socket(web, f"/training/{self._job_id}?{self.query}") as socket:
            while not self.ended:
                self._take(json.loads(await socket.recv()))


class StreamClient(EventClient):
    async def _receive(self, web: Stack) -> None:
        async with (
            _http(web) as client,
            client.stream("GET", f"/jobs/{self._job_id}/events/stream?{self.query}") as response,
        ):
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    self._take(json.loads(line[6:]))
                if self.ended:
                    return


class PollingClient(EventClient):
    async def _receive(self, web: Stack) -> None:
        async with _http(web) as client:
            while not self.ended:
                after = self.events[-1]["seq"] if self.events else 0
                answer = await client.get(f"/jobs/{self._job_id}/events", params={"after": after})
                answer.raise_for_status()
                for event in answer.json()["results"]:
                    self._take(event)
                await asyncio.sleep(POLL_SECONDS)


def _http(web: Stack) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {web.tokens['ada']}"}
    return httpx.AsyncClient(
        base_url=f"{web.url}/api/v1/training", headers=headers, timeout=httpx.Timeout(30)
    )


@dataclass
class AllJobsConnection:
    """What one connection to `/ws` delivered."""

    opened_at: float  # when the frame `connected` was received
    is_open: bool = True
    events: defaultdict[str, Events] = field(default_factory=lambda: defaultdict(list))


class AllJobsClient:
    """Follows all jobs, and keeps apart what each of its connections delivered."""

    def __init__(
        self, choose_web: Callable[[], Stack], lifetime: Callable[[], float | None] = lambda: None
    ) -> None:
        self._choose_web, self._lifetime = choose_web, lifetime
        self.connections: list[AllJobsConnection] = []

    async def follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._lifetime()):
                    await self._receive(self._choose_web())
            except DISCONNECTED:
                pass
            if self.connections:
                self.connections[-1].is_open = False
            await asyncio.sleep(0.1)

    async def _receive(self, web: Stack) -> None:
        async with open_socket(web) as socket:
            assert json.loads(await socket.recv())["event"] == "connected"
            connection = AllJobsConnection(time.time())
            self.connections.append(connection)
            while True:
                received = json.loads(await socket.recv())
                if "seq" in received:
                    connection.events[received["data"]["job_id"]].append(received)
