"""Daphne with WebSocket compression, back-pressure, request limits and a clean shutdown.

Import this only in a process that serves with daphne: importing daphne replaces the event loop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import daphne.server
from twisted.internet.defer import DeferredList, maybeDeferred
from twisted.internet.task import deferLater

from heimdall.daphne import request_limits, websockets
from heimdall.database import check_database
from heimdall.web_process import ListenError
from realtime.protocol import Close

if TYPE_CHECKING:
    from asgiref.typing import ASGISendEvent

FLUSH_SECONDS = 0.2
# The default of nginx. A client that reads 1.1 kB/s empties a buffer of 64 KiB in this time.
SEND_SECONDS = 60.0
# Running requests are awaited for this long only, because the process was asked to stop.
CLOSE_SECONDS = 5.0
SHUTDOWN_SECONDS = 3.0
# Connections that wait to be accepted. Beyond Twisted's 50, clients that reconnect after a restart
# would wait for TCP's retransmissions, which take seconds.
BACKLOG = 4096


# The original methods, before patch_daphne.
_handle_reply = daphne.server.Server.handle_reply
_kill_all_applications = daphne.server.Server.kill_all_applications
_run = daphne.server.Server.run


async def _send_with_backpressure(self: Any, protocol: Any, message: ASGISendEvent) -> None:
    """Block the sending task while its client does not read; other clients are not affected.

    A response is cut off if its client reads nothing for SEND_SECONDS, since it may be in memory.
    """
    if (may_write := getattr(protocol, "may_write", None)) is not None:  # of a WebSocket
        await may_write.wait()
    if (may_write_body := getattr(protocol, "may_write_body", None)) is not None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await may_write_body.wait()
        except TimeoutError:
            protocol.cut_off()
            return
    await _handle_reply(self, protocol, message)


def _create_application(self: Any, protocol: Any, scope: Any) -> asyncio.Queue[Any] | None:
    """Like daphne's method, but reads the body of a request from its file as needed.

    The application can write to a WebSocket directly.
    """
    if (write := getattr(protocol, "write_texts", None)) is not None:
        scope["extensions"] = {"heimdall.write": write}
    new_input_queue = getattr(protocol, "new_input_queue", asyncio.Queue)
    queue: asyncio.Queue[Any] = new_input_queue()
    scope.setdefault("asgi", {"version": "3.0"})
    application = self.application(
        scope=scope, receive=queue.get, send=partial(self.handle_reply, protocol)
    )
    if protocol not in self.connections:
        application.close()
        return None
    self.connections[protocol]["application_instance"] = asyncio.ensure_future(application)
    return queue


def _close_websockets(self: Any) -> Any:
    """Close WebSockets with 1012 (service restart), so that clients reconnect soon."""
    for protocol in list(self.connections):
        if getattr(protocol, "may_write", None) is not None:
            protocol.serverClose(Close.SERVICE_RESTART)
    # The reactor stops when this Deferred fires, so give the close frames time to be sent.
    flushed = _delay(FLUSH_SECONDS)
    ended = DeferredList([flushed, maybeDeferred(_kill_all_applications, self)])
    return DeferredList([ended, _delay(CLOSE_SECONDS)], fireOnOneCallback=True)


def exit_after_timeout(status: int = 0) -> None:
    """Exit after SHUTDOWN_SECONDS even if threads are still running.

    A cancelled request can leave a thread that blocks forever, and Python joins all threads at
    exit.
    """
    timer = threading.Timer(SHUTDOWN_SECONDS, os._exit, [status])
    timer.daemon = True
    timer.start()


def _run_until_stopped(self: Any) -> None:
    """`run` of the command daphne, with a status for what it would only log."""
    if problem := check_database():
        sys.exit(problem)
    self.endpoints = [with_backlog(endpoint) for endpoint in self.endpoints]
    _run(self)
    exit_after_timeout(1 if self.failed_endpoints else 0)
    if self.failed_endpoints:
        sys.exit(f"Cannot listen: {self.failed_endpoints[0].rstrip('.')}. Choose another port.")


def with_backlog(endpoint: str) -> str:
    """The description of a Twisted endpoint with BACKLOG, unless it has a backlog of its own."""
    takes_one = endpoint.startswith(("tcp:", "ssl:", "unix:"))
    return (
        f"{endpoint}:backlog={BACKLOG}" if takes_one and ":backlog=" not in endpoint else endpoint
    )


def _stop_with_error(self: Any, failure: Any) -> None:
    self.failed_endpoints.append(failure.getErrorMessage())
    self.stop()


def _delay(seconds: float) -> Any:
    return deferLater(daphne.server.reactor, seconds, lambda: None)


def patch_daphne() -> None:
    """Install the patches, also under the `daphne` command; calling this twice is harmless."""
    daphne.server.WebSocketFactory = websockets.CompressingFactory
    daphne.server.HTTPFactory = request_limits.RequestLimitFactory
    daphne.server.Server.create_application = _create_application
    daphne.server.Server.handle_reply = _send_with_backpressure
    daphne.server.Server.kill_all_applications = _close_websockets
    daphne.server.Server.run = _run_until_stopped
    daphne.server.Server.failed_endpoints = []
    daphne.server.Server.listen_error = _stop_with_error


class DaphneServer(daphne.server.Server):
    """Calls `ready` with the port once it listens; `run` returns after SIGINT or SIGTERM.

    The caller has more to shut down than daphne and calls `exit_after_timeout` itself.
    """

    def __init__(
        self, application: Any, host: str, port: int, ready: Callable[[int], None]
    ) -> None:
        patch_daphne()
        self._ready = ready
        self._address, self._listen_error = f"{host}:{port}", ""
        super().__init__(
            application,
            endpoints=[with_backlog(f"tcp:{port}:interface={host.replace(':', chr(92) + ':')}")],
            server_name="heimdall",
        )

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ready(port.getHost().port)

    def listen_error(self, failure: Any) -> None:
        """Stop with an error; daphne itself would log it and exit with status 0."""
        self._listen_error = failure.getErrorMessage()
        self.stop()

    def run(self) -> None:
        _run(self)
        if self._listen_error:
            raise ListenError(
                f"Cannot listen on {self._address}: {self._listen_error.rstrip('.')}. "
                "Choose another address with --host or --port."
            )
