"""Streamed responses: paused while their client does not read, and cut off when they fail."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import daphne.http_protocol

if TYPE_CHECKING:
    from asgiref.typing import ASGISendEvent


class _BodyProducer:
    """Twisted calls this when the socket's buffer is full, and when it has room again."""

    def __init__(self, may_write: asyncio.Event) -> None:
        self._may_write = may_write

    def pauseProducing(self) -> None:  # noqa: N802
        self._may_write.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._may_write.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._may_write.set()


class BackpressureRequest(daphne.http_protocol.WebRequest):
    """`Server.handle_reply` waits for `may_write_body` before it passes on a part of the body."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.may_write_body = asyncio.Event()
        self.may_write_body.set()

    def handle_reply(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.body" and self.channel is not None:
            if not message.get("more_body", False):
                if self.producer is not None:
                    self.unregisterProducer()
            elif self.producer is None:
                self.registerProducer(_BodyProducer(self.may_write_body), True)
        super().handle_reply(message)

    def handle_exception(self, exception: Exception) -> None:
        """Cut off a response that has begun, so that the client does not wait for the rest of it.

        Daphne would try to begin another response, and its loop over all requests would end.
        """
        if not self._response_started:
            super().handle_exception(exception)
        else:
            self.cut_off()

    def cut_off(self) -> None:
        """Close the connection without the rest of the response."""
        if getattr(self, "channel", None) is not None:
            self.channel.forceAbortClient()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self.may_write_body.set()
        super().connectionLost(reason)
