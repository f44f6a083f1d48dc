"""The body of a request in blocks, as the application asks for them."""

from __future__ import annotations

import asyncio
from typing import IO, Any

BLOCK_SIZE = 64 * 1024


class BodyQueue(asyncio.Queue[dict[str, Any]]):
    """The messages for an ASGI application; the body comes first, from its file.

    Daphne reads the file at once and holds all of it in memory until the application has taken it.
    """

    def __init__(self, body: IO[bytes]) -> None:
        super().__init__()
        self._body: IO[bytes] | None = body

    def put_nowait(self, item: dict[str, Any]) -> None:
        if item["type"] != "http.request":  # the empty body that daphne has read
            super().put_nowait(item)

    async def get(self) -> dict[str, Any]:
        if self._body is None or self._body.closed:
            return await super().get()
        block = self._body.read(BLOCK_SIZE)
        if len(block) < BLOCK_SIZE:
            self._body.close()
            self._body = None
        else:
            await asyncio.sleep(0)  # other requests are served between two blocks
        return {"type": "http.request", "body": block, "more_body": self._body is not None}
