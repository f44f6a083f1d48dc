"""Daphne as Heimdall wants it: compressed sockets, back-pressure, and a goodbye that says why.

Import it only where daphne serves: importing daphne takes this process's event loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import daphne.server
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet.defer import DeferredList, maybeDeferred
from twisted.internet.task import deferLater

from heimdall.daphne import request_limits
from realtime.protocol import Close

FLUSH_SECONDS = 0.2
# Requests under way are waited for, but not for ever: whoever stops this process wants it stopped.
CLOSE_SECONDS = 5.0
SHUTDOWN_SECONDS = 3.0
MAX_FRAME_BYTES = MAX_WRITE_BYTES = 64 * 1024


class BackpressureProtocol(WebSocketProtocol):
    """A socket that says when the other side does not take what was sent."""

    may_write: asyncio.Event | None = None

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._in_turn = False

    def onOpen(self) -> None:  # noqa: N802
        self.may_write = asyncio.Event()
        self.may_write.set()
        # Twisted calls its producer when the socket's buffer is full, and when it is empty again.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        super().onOpen()

    def pauseProducing(self) -> None:  # noqa: N802
        assert self.may_write is not None
        self.may_write.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        assert self.may_write is not None
        self.may_write.set()

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        if code == Close.SERVICE_RESTART:
            # Not `sendClose`, which takes no code of the protocol's own.
            self.sendCloseFrame(code=code, reasonUtf8=b"service restart")
        else:
            super().serverClose(code)

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802
        plain = self._perMessageCompress is None and not self.send_queue
        if plain and not binary and self.state == self.STATE_OPEN:
            self._write_soon(_framed(content))
        else:
            super().serverSend(content, binary)

    def sendData(self, *args: Any, **options: Any) -> None:  # noqa: N802
        self._write_now()
        super().sendData(*args, **options)

    def _write_soon(self, frame: bytes) -> None:
        """The first frame of a turn of the loop goes at once, what a burst adds to it in one."""
        if not self._in_turn:
            self._in_turn = True
            asyncio.get_running_loop().call_soon(self._end_turn)
            _write(self.transport, frame)
            return
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > MAX_WRITE_BYTES:
            self._write_now()

    def _end_turn(self) -> None:
        self._in_turn = False
        self._write_now()

    def _write_now(self) -> None:
        data, self._waiting, self._waiting_bytes = b"".join(self._waiting), [], 0
        _write(self.transport, data)

    stopProducing = resumeProducing  # noqa: N815

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803
        if self.may_write is not None:
            self.may_write.set()
        super().onClose(wasClean, code, reason)


@lru_cache(maxsize=64)
def _framed(text: str) -> bytes:
    """One whole text frame (RFC 6455, 5.2): what goes to many sockets alike is framed once."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def _write(transport: Any, data: bytes) -> None:
    """At once, where nothing waits before it: left to itself, Twisted writes at the loop's next
    turn, and tells the kernel twice what to watch, for each socket of each frame."""
    if data and transport.connected and getattr(transport, "_tempDataBuffer", None) == []:
        sent = 0 if transport.dataBuffer else transport.writeSomeData(data)
        if isinstance(sent, int):  # or else the connection is lost, as the write below will find
            data = data[sent:]
    if data:
        transport.write(data)


class DaphneFactory(WebSocketFactory):
    """Daphne answers every offer of compression with no, unless its factory is told to accept."""

    protocol = BackpressureProtocol

    def setProtocolOptions(self, **options: Any) -> None:  # noqa: N802
        """Daphne says its own bounds, a megabyte, when it begins to serve."""
        ours = {
            "perMessageCompressionAccept": _accept_compression,
            # What a client has to say is short; a longer one is closed (1009), not dropped.
            "maxFramePayloadSize": MAX_FRAME_BYTES,
            "maxMessagePayloadSize": MAX_FRAME_BYTES,
            "failByDrop": False,
        }
        super().setProtocolOptions(**{**options, **ours})


def _accept_compression(offers: list[Any]) -> PerMessageDeflateOfferAccept | None:
    deflate = [offer for offer in offers if isinstance(offer, PerMessageDeflateOffer)]
    return PerMessageDeflateOfferAccept(deflate[0]) if deflate else None


_send = daphne.server.Server.handle_reply
_end = daphne.server.Server.kill_all_applications
_run = daphne.server.Server.run


async def _send_with_backpressure(self: Any, protocol: Any, message: dict[str, Any]) -> None:
    """A socket that takes nothing holds up the task that sends to it, and nobody else."""
    may_write = getattr(protocol, "may_write", None)
    if may_write is not None:
        await may_write.wait()
    await _send(self, protocol, message)


def _close_websockets(self: Any) -> Any:
    """Sockets are told that the service restarts, so that they come back soon."""
    for protocol in list(self.connections):
        if getattr(protocol, "may_write", None) is not None:
            protocol.serverClose(Close.SERVICE_RESTART)
    # The reactor stops as soon as what it waits for is done: the frames have to leave first.
    flushed = _later(FLUSH_SECONDS)
    ended = DeferredList([flushed, maybeDeferred(_end, self)])
    return DeferredList([ended, _later(CLOSE_SECONDS)], fireOnOneCallback=True)


def exit_after_timeout(status: int = 0) -> None:
    """A request that was cut off can leave a thread behind that waits for ever, and a process that
    ends waits for all its threads: for no longer than this."""
    last = threading.Timer(SHUTDOWN_SECONDS, os._exit, [status])
    last.daemon = True
    last.start()


def _run_until_stopped(self: Any) -> None:
    _run(self)
    exit_after_timeout()


def _later(seconds: float) -> Any:
    return deferLater(daphne.server.reactor, seconds, lambda: None)


def patch_daphne() -> None:
    """Teach daphne, however it was started; doing so twice changes nothing."""
    daphne.server.WebSocketFactory = DaphneFactory
    daphne.server.HTTPFactory = request_limits.Factory
    daphne.server.Server.handle_reply = _send_with_backpressure
    daphne.server.Server.kill_all_applications = _close_websockets
    daphne.server.Server.run = _run_until_stopped


class DaphneServer(daphne.server.Server):
    """Tells `ready` the port once it listens; `run` returns after SIGINT or SIGTERM.

    Whoever runs it has more to end than daphne, and calls `end_in_time` itself.
    """

    def __init__(
        self, application: Any, host: str, port: int, ready: Callable[[int], None]
    ) -> None:
        patch_daphne()
        self._ready = ready
        super().__init__(
            application,
            endpoints=[f"tcp:{port}:interface={host.replace(':', chr(92) + ':')}"],
            server_name="heimdall",
        )

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ready(port.getHost().port)

    def run(self) -> None:
        _run(self)
