"""Rejects request bodies that are too large while they arrive.

Daphne passes a request to Django only after it has written the whole body to disk, so Django's own
limits come too late.
"""

from __future__ import annotations

import io
import json
from typing import Any

import daphne.http_protocol
from django.conf import settings
from twisted.internet import reactor

UPLOADS = frozenset({b"/api/v1/training/datasets/import", b"/datasets"})
ENVELOPE_BYTES = 1024 * 1024  # what multipart encoding adds to the file
# After the response the client may go on sending for this long: most clients read the response
# only when they have sent everything.
LINGER_SECONDS = 30.0


class Request(daphne.http_protocol.WebRequest):
    """Responds with 413 if the body, or its declared length, exceeds the limit."""

    rejected = False
    _received_bytes = 0
    _max_bytes = 0
    content: Any

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        path = bytes(self.channel._path).partition(b"?")[0]  # noqa: SLF001
        self._max_bytes = settings.BODY_MAX_BYTES
        if path in UPLOADS:
            self._max_bytes = settings.UPLOAD_MAX_BYTES + ENVELOPE_BYTES
        if length is not None and length > self._max_bytes:
            self._reject()
        super().gotLength(0 if self.rejected else length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self._received_bytes += len(data)
        if self.rejected:
            return
        if self._received_bytes > self._max_bytes:
            self._reject()
            self.content.close()
            self.content = io.BytesIO()
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        if not self.rejected:
            return super().process()
        self.server.protocol_disconnected(self)
        return self.channel.loseConnection()

    def _reject(self) -> None:
        from training.api.errors import CONTENT_TYPE, problem_body

        self.rejected = True
        # Otherwise the channel would ask for the rejected body with "100 Continue".
        self.requestHeaders.removeHeader(b"expect")
        detail = f"The request body exceeds the limit of {self._max_bytes:,} bytes."
        body = json.dumps(problem_body(413, detail)).encode()
        head = (
            "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
            f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.channel.transport.write(head.encode() + body)
        abort = reactor.callLater(LINGER_SECONDS, self.channel.forceAbortClient)
        finished = self.notifyFinish()
        finished.addBoth(lambda _: abort.cancel() if abort.active() else None)


class RequestLimitFactory(daphne.http_protocol.HTTPFactory):
    """Replaces the request class, which daphne sets inside `buildProtocol`."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol
