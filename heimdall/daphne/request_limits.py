"""Bodies that are too large are refused while they come, before anything of them is kept.

Daphne hands a request to Django only when all of it lies on the disk; so the bound stands here.
"""

from __future__ import annotations

import io
import json
from typing import Any

import daphne.http_protocol
from django.conf import settings
from twisted.internet import reactor

UPLOADS = frozenset({b"/api/v1/training/datasets/import", b"/datasets"})
ENVELOPE_BYTES = 1024 * 1024  # what a form adds to its file
# Who has been refused may go on sending for so long: cut off at once, most would never read why.
LINGER_SECONDS = 30.0


class Request(daphne.http_protocol.WebRequest):
    """Counts what comes, and answers 413 where it is, or is said to be, too much."""

    refused = False
    _received = 0
    _most = 0
    content: Any

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        path = bytes(self.channel._path).partition(b"?")[0]  # noqa: SLF001
        self._most = settings.BODY_MAX_BYTES
        if path in UPLOADS:
            self._most = settings.UPLOAD_MAX_BYTES + ENVELOPE_BYTES
        if length is not None and length > self._most:
            self._refuse()
        super().gotLength(0 if self.refused else length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self._received += len(data)
        if self.refused:
            return
        if self._received > self._most:
            self._refuse()
            self.content.close()
            self.content = io.BytesIO()
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        if not self.refused:
            return super().process()
        self.server.protocol_disconnected(self)
        return self.channel.loseConnection()

    def _refuse(self) -> None:
        from training.api.errors import CONTENT_TYPE, problem_body

        self.refused = True
        # Or else the channel would ask for the body after it has been refused.
        self.requestHeaders.removeHeader(b"expect")
        detail = f"The body is larger than the {self._most:,} bytes that are taken here."
        told = json.dumps(problem_body(413, detail)).encode()
        head = (
            "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
            f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(told)}\r\n\r\n"
        )
        self.channel.transport.write(head.encode() + told)
        patience = reactor.callLater(LINGER_SECONDS, self.channel.forceAbortClient)
        gone = self.notifyFinish()
        gone.addBoth(lambda _: patience.cancel() if patience.active() else None)


class Factory(daphne.http_protocol.HTTPFactory):
    """Daphne names its own kind of request in the middle of a method."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol
