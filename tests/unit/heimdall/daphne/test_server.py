"""Back-pressure of responses."""

from __future__ import annotations

import asyncio
from typing import Any

import daphne.server
import pytest

from heimdall.daphne import server


class Response:
    """A response whose client has stopped reading."""

    def __init__(self) -> None:
        self.may_write_body = asyncio.Event()
        self.is_cut_off = False
        self.written: list[Any] = []

    def cut_off(self) -> None:
        self.is_cut_off = True

    def handle_reply(self, message: Any) -> None:
        self.written.append(message)


async def send(response: Response) -> None:
    server.patch_daphne()
    served = daphne.server.Server.__new__(daphne.server.Server)
    served.connections = {response: {}}
    message = {"type": "http.response.body", "body": b"x", "more_body": True}
    await served.handle_reply(response, message)


async def test_response_whose_client_reads_nothing_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "SEND_SECONDS", 0.05)
    response = Response()
    await send(response)
    assert response.is_cut_off and response.written == []


async def test_response_goes_on_when_its_client_reads_again() -> None:
    response = Response()
    sending = asyncio.ensure_future(send(response))
    await asyncio.sleep(0.01)
    assert response.written == []
    response.may_write_body.set()
    await sending
    assert not response.is_cut_off and len(response.written) == 1
