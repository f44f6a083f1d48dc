"""Rejects request bodies while they arrive: too large ones, and large unauthenticated ones.

Daphne passes a request to Django only after it has written the whole body to disk, so Django's own
limits and authentication come too late.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import daphne.http_protocol
from django.conf import settings
from twisted.internet import reactor

from heimdall.daphne.deadlines import new_channel
from heimdall.daphne.http_backpressure import BackpressureRequest
from heimdall.daphne.request_bodies import BodyQueue

if TYPE_CHECKING:
    from heimdall.daphne.senders import Admission

ENVELOPE_BYTES = 1024 * 1024  # what multipart encoding adds to the file
# The end of a path, because a proxy may add a prefix, and the limit of its bodies.
LIMITS = (
    (
        re.compile(rb"/training/datasets/import/?$|(?<!/training)/datasets/?$"),
        "UPLOAD_MAX_BYTES",
    ),
    (re.compile(rb"(?<!/training)/models/[0-9a-f-]{36}/locate/?$"), "UPLOAD_MAX_BYTES"),
    (re.compile(rb"/training/jobs/[0-9a-f-]{36}/artifacts/"), "ARTIFACTS_MAX_BYTES"),
    (re.compile(rb"/api/2\.0/mlflow-artifacts/artifacts/"), "ARTIFACTS_MAX_BYTES"),
    (re.compile(rb"/api/bulk_\w+$"), "TRACKIO_MAX_BYTES"),
    (re.compile(rb"/api/upload$"), "UPLOAD_MAX_BYTES"),
    (re.compile(rb"/training/(models/[^/]+/predict|reports(/.*)?)/?$"), "BODY_MAX_BYTES"),
)
# API requests that store their body. Pages report the limit of stored bytes in their form.
IMPORT = re.compile(rb"/training/datasets/import/?$")
STORED = re.compile(
    IMPORT.pattern + rb"|/training/jobs/[0-9a-f-]{36}/artifacts/"
    rb"|/api/2\.0/mlflow-artifacts/artifacts/|/api/upload$"
)
# After the response the client may continue to send for this long and this much: most clients read
# the response only when they have sent everything.
LINGER_SECONDS = 30.0
DRAIN_BYTES = 4 * 1024 * 1024

log = logging.getLogger(__name__)
# Separate threads, so that unauthenticated clients cannot occupy those that deliver events.
_authentication = ThreadPoolExecutor(2, thread_name_prefix="authentication")


def max_body_bytes(path: bytes) -> int:
    for pattern, setting in LIMITS:
        if pattern.search(path):
            extra = ENVELOPE_BYTES if setting == "UPLOAD_MAX_BYTES" else 0
            return int(getattr(settings, setting)) + extra
    return int(settings.SMALL_BODY_BYTES)


class Request(BackpressureRequest):
    """Responds with 413 if the body, or its declared length, exceeds the limit of the path.

    A body beyond SMALL_BODY_BYTES is read only once its sender is known and has a place for it,
    and otherwise answered with 401 or 429. A body that exceeds the sender's limit of stored bytes
    is answered with 409.
    """

    rejected = False
    received_bytes = 0
    _drained_bytes = 0
    _max_bytes = 0
    _stored_bytes: int | None = None  # announced; None if the body is not stored
    _sends_continue = False
    _received_all = False
    _check: asyncio.Future[None] | None = None
    _body: Any = None
    _admission: Admission | None = None
    content: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Twisted would parse forms too, whole and in memory: 80 MB took 950 MB and seconds.
        self._parsePOSTFormSubmission = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        # The path of the request line: `self.path` is set when the body is complete.
        path, _, query = bytes(self.channel._path).partition(b"?")  # noqa: SLF001
        self._max_bytes = max_body_bytes(path)
        if STORED.search(path) and not (IMPORT.search(path) and b"dry_run" in query):
            self._stored_bytes = length or 0
        if length is not None and length > self._max_bytes:
            self._reject_too_large()
        elif length is not None and length > settings.SMALL_BODY_BYTES:
            self._authenticate_sender()
        super().gotLength(0 if self.rejected else length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self.received_bytes += len(data)
        if self.rejected:
            self._drained_bytes += len(data)
            if self._drained_bytes > DRAIN_BYTES:
                self.channel.stop_reading()
        elif self.received_bytes > self._max_bytes:
            self._reject_too_large()
        elif self._admission and self._exceeds_room(self._admission):
            self._respond(409, self._admission.room_error)
        else:
            super().handleContentChunk(data)
            if self.received_bytes > settings.SMALL_BODY_BYTES and self._check is None:
                self._authenticate_sender()

    def process(self) -> Any:
        # `heimdall.base_path` ignores it; daphne fails if it is not ASCII.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        if self.rejected:
            self.server.protocol_disconnected(self)
            return self.channel.loseConnection()
        if self._check is not None and not self._check.done():
            self._received_all = True
            return None
        # Daphne would put the whole body into the application's queue.
        self._body, self.content = self.content, io.BytesIO()
        self._body.seek(0)
        return super().process()

    def new_input_queue(self) -> BodyQueue:
        return BodyQueue(self._body)

    def finish(self) -> None:
        super().finish()
        self._close_body()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        super().connectionLost(reason)
        self._close_body()

    def _close_body(self) -> None:
        if self._body is not None:
            self._body.close()
        if self._admission is not None:
            self._admission.place.release()

    def _exceeds_room(self, admission: Admission) -> bool:
        return admission.room is not None and self.received_bytes > admission.room

    def _authenticate_sender(self) -> None:
        if self.requestHeaders.hasHeader(b"expect"):
            # Otherwise the channel would ask for the body with "100 Continue" before that.
            self.requestHeaders.removeHeader(b"expect")
            self._sends_continue = True
        self.channel.stop_reading()
        self._check = asyncio.ensure_future(self._check_sender())

    async def _check_sender(self) -> None:
        from heimdall.daphne.senders import admit
        from training.accounts.limits import LimitReachedError

        authorization, cookies, trackio_token = (
            (self.requestHeaders.getRawHeaders(name) or [b""])[0].decode("latin1")
            for name in (b"authorization", b"cookie", b"x-trackio-write-token")
        )
        check = partial(
            admit, authorization, cookies, trackio_token, stored_bytes=self._stored_bytes
        )
        loop = asyncio.get_running_loop()
        try:
            self._admission = await loop.run_in_executor(_authentication, check)
        except LimitReachedError as error:
            if error.limit.at_once:
                self._respond(429, str(error), b"Retry-After: 2\r\n")
            else:
                self._respond(409, str(error))
            return
        except Exception as error:
            log.warning("Cannot authenticate the sender of a large body: %r", error)
            self._respond(503, "The database cannot be reached; try again.", b"Retry-After: 2\r\n")
            return
        if self.channel is None or self.channel.transport is None:
            self._close_body()  # the client has left
            return
        if self._admission is None:
            self._respond(
                401,
                f"Sign in or send a token: a request body of more than "
                f"{settings.SMALL_BODY_BYTES:,} bytes is read only from users.",
                b'WWW-Authenticate: Bearer realm="heimdall"\r\n',
            )
            return
        if self._sends_continue:
            self.channel.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.channel.continue_reading()
        if self._received_all:
            self._check = None
            self.process()

    def _reject_too_large(self) -> None:
        self._respond(413, f"The request body exceeds the limit of {self._max_bytes:,} bytes.")

    def _respond(self, status: int, detail: str, headers: bytes = b"") -> None:
        from training.api.errors import CONTENT_TYPE, problem_body

        if self.channel is None:
            return
        self.rejected = True
        # Otherwise the channel would ask for the rejected body with "100 Continue".
        self.requestHeaders.removeHeader(b"expect")
        if self.content is not None:
            self.content.close()
            self.content = io.BytesIO()
        body = json.dumps(problem_body(status, detail)).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
            f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
        )
        self.channel.transport.write(head.encode() + headers + b"\r\n" + body)
        self.channel.continue_reading()
        abort = reactor.callLater(LINGER_SECONDS, self.channel.forceAbortClient)
        finished = self.notifyFinish()
        finished.addBoth(lambda _: abort.cancel() if abort.active() else None)
        if self._received_all:
            self.process()


class RequestLimitFactory(daphne.http_protocol.HTTPFactory):
    """Replaces the classes of channel and request, which daphne sets inside `buildProtocol`."""

    protocol = staticmethod(new_channel)

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol
