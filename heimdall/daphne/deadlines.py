"""Closes connections whose request head or body comes too slowly.

Twisted's timeout counts from the last byte, so that one byte a minute keeps a connection open for
ever. Between two requests of a connection that timeout applies.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.web import http

HEAD_SECONDS = 20.0
# A body has to come at this rate on average, after a while.
BODY_GRACE_SECONDS = 20.0
MIN_BYTES_PER_SECOND = 2000
BODY_CHECK_SECONDS = 5.0
ABORT_SECONDS = 5.0
TIMEOUT_RESPONSE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class DeadlineChannel(http.HTTPChannel):
    """One connection of a client."""

    _deadline: Any = None
    _body_since = 0.0
    _reading_stopped = False

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        self._call_later(HEAD_SECONDS, self._time_out)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self._deadline is None and not self._handlingRequest:
            self._call_later(HEAD_SECONDS, self._time_out)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:  # noqa: N802
        self._body_since = reactor.seconds()
        if self.length != 0:  # there is a body
            self._call_later(BODY_CHECK_SECONDS, self._check_body)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:  # noqa: N802
        self._cancel()
        super().allContentReceived()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self._cancel()
        super().connectionLost(reason)

    def stop_reading(self) -> None:
        self._reading_stopped = True
        self._networkProducer.pauseProducing()

    def continue_reading(self) -> None:
        if self._reading_stopped:
            self._reading_stopped = False
            self._networkProducer.resumeProducing()

    def _check_body(self) -> None:
        self._deadline = None
        seconds = reactor.seconds() - self._body_since
        request = self.requests[-1] if self.requests else None
        if request is None or request.rejected:
            return  # it has a deadline of its own
        if request.received_bytes < (seconds - BODY_GRACE_SECONDS) * MIN_BYTES_PER_SECOND:
            self._time_out()
        else:
            self._call_later(BODY_CHECK_SECONDS, self._check_body)

    def _time_out(self) -> None:
        self._cancel()
        self.transport.write(TIMEOUT_RESPONSE)
        self.loseConnection()
        self._call_later(ABORT_SECONDS, self._abort)

    def _abort(self) -> None:
        self._deadline = None
        self.transport.abortConnection()

    def _call_later(self, seconds: float, call: Any) -> None:
        self._cancel()
        self._deadline = reactor.callLater(seconds, call)

    def _cancel(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()


def new_channel() -> Any:
    return http._GenericHTTPChannelProtocol(DeadlineChannel())  # noqa: SLF001
