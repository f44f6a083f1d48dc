"""WebSocket clients."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.stack import Stack

ENDS = ("completed", "failed", "cancelled")


def open_socket(stack: Stack, path: str = "", who: str = "ada", **options: Any) -> connect:
    headers = {"Authorization": f"Bearer {stack.tokens[who]}"}
    return connect(f"{stack.ws}{path}", additional_headers=headers, **options)


async def frame(socket: ClientConnection, seconds: float = 20) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        return dict(json.loads(await socket.recv()))


async def closed_with(socket: ClientConnection) -> int:
    """Wait for the server to close the connection; return the close code."""
    try:
        async with asyncio.timeout(10):
            while True:
                await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0


def is_end(found: dict[str, Any]) -> bool:
    return found["event"] == "training:completed" and found["data"]["status"] in ENDS


async def watch(stack: Stack, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """Every stored event after seq `after` until the job ends; reconnects when disconnected."""
    found: list[dict[str, Any]] = []
    cursor = after
    while True:
        try:
            async with open_socket(stack, f"/training/{job_id}?after={cursor}") as socket:
                while True:
                    event = await frame(socket, 90)
                    if "seq" not in event:
                        continue
                    found.append(event)
                    cursor = event["seq"]
                    if is_end(event):
                        return found
        except (WebSocketException, OSError, EOFError):
            await asyncio.sleep(0.1)
