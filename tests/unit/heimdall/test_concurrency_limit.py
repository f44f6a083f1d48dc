from __future__ import annotations

import asyncio
from typing import Any

import pytest

from heimdall import concurrency_limit
from heimdall.concurrency_limit import ConcurrencyLimit, Message, Receive, Send


class Application:
    """Waits in each request until `released`; streams if the path says so."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.released = asyncio.Event()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if scope["path"] == "/stream":
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await self.released.wait()
            if scope["path"] == "/failing":
                raise OSError("failed")
            await send({"type": "http.response.body", "body": b"done"})
        finally:
            self.running -= 1


class Client:
    def __init__(self, application: ConcurrencyLimit, path: str) -> None:
        self.messages: list[Message] = []
        self.task = asyncio.ensure_future(application({"path": path}, self._receive, self._send))

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"]) if self.messages else 0


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def application(settings: Any) -> Application:
    settings.REQUESTS_AT_ONCE, settings.BASE_PATH = 2, "/base"
    return Application()


async def test_requests_wait_for_a_slot_and_all_are_answered(application: Application) -> None:
    limited = ConcurrencyLimit(application)
    clients = [Client(limited, path) for path in ("/", "/failing", "/failing", "/", "/")]
    await turns()
    assert application.running == 2
    health, artifact = (Client(limited, path) for path in ("/base/healthz", "/base/jobs/healthz"))
    await turns()
    assert (health.status, artifact.status) == (200, 0)
    application.released.set()
    waiting = [*clients, artifact]
    await asyncio.gather(*(client.task for client in waiting), return_exceptions=True)
    assert [client.status for client in clients] == [200] * 5
    assert application.most == 3


async def test_event_streams_occupy_no_request_slot(application: Application) -> None:
    limited = ConcurrencyLimit(application)
    streams = [Client(limited, "/stream") for _ in range(10)]
    await turns()
    assert [stream.status for stream in streams] == [200] * 10
    Client(limited, "/")
    await turns()
    assert application.running == 11
    application.released.set()
    await turns()


async def test_requests_beyond_the_queue_are_refused(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency_limit, "MAX_WAITING", 3)
    limited = ConcurrencyLimit(application)
    clients = [Client(limited, "/") for _ in range(7)]
    await turns()
    assert [client.status for client in clients] == [200, 200, 0, 0, 0, 503, 503]
    assert (b"retry-after", b"2") in clients[-1].messages[0]["headers"]
    clients[2].task.cancel()
    await turns()
    assert Client(limited, "/").status == 0
    application.released.set()
    await turns()
    assert [client.status for client in clients[:5]] == [200, 200, 0, 200, 200]
