"""Daphne as Heimdall wants it: compressed sockets, back-pressure, and a goodbye that says why."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


def install() -> None:
    """Teach daphne, if it is the server of this process; another server is left alone."""
    server = sys.modules.get("daphne.server")
    if server is None or getattr(server, "taught_by_heimdall", False):
        return
    server.taught_by_heimdall = True  # type: ignore[attr-defined]
    from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
    from daphne import ws_protocol

    class Protocol(ws_protocol.WebSocketProtocol):  # type: ignore[misc]
        """Tells the sender when the other side does not take what was sent."""

        def onOpen(self) -> None:  # noqa: N802
            self.may_write = asyncio.Event()
            self.may_write.set()
            # Twisted calls the producer when the socket's buffer is full, and when it is empty.
            self.transport.unregisterProducer()
            self.transport.registerProducer(self, True)
            super().onOpen()

        def pauseProducing(self) -> None:  # noqa: N802
            self.may_write.clear()

        def resumeProducing(self) -> None:  # noqa: N802
            self.may_write.set()

        def stopProducing(self) -> None:  # noqa: N802
            self.may_write.set()

        def onClose(self, *args: Any) -> None:  # noqa: N802
            if hasattr(self, "may_write"):
                self.may_write.set()
            super().onClose(*args)

    def accept(offers: list[Any]) -> Any:
        for offer in offers:
            if isinstance(offer, PerMessageDeflateOffer):
                return PerMessageDeflateOfferAccept(offer)
        return None

    class Factory(ws_protocol.WebSocketFactory):  # type: ignore[misc]
        protocol = Protocol

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.setProtocolOptions(perMessageCompressionAccept=accept)

    server.WebSocketFactory = Factory  # type: ignore[attr-defined]
    _teach(server.Server)


def _teach(server_class: Any) -> None:
    send, end = server_class.handle_reply, server_class.kill_all_applications

    async def handle_reply(self: Any, protocol: Any, message: dict[str, Any]) -> None:
        """A socket that takes nothing holds up the task that sends to it, and nobody else."""
        may_write = getattr(protocol, "may_write", None)
        if may_write is not None:
            await may_write.wait()
        await send(self, protocol, message)

    def kill_all_applications(self: Any) -> Any:
        """Sockets are told that the service restarts (1012), so they come back soon."""
        for protocol in list(self.connections):
            if hasattr(protocol, "may_write"):
                protocol.sendClose(code=1012, reason="service restart")
        return end(self)

    server_class.handle_reply = handle_reply
    server_class.kill_all_applications = kill_all_applications


def make_server(
    application: Any, host: str, port: int, ready: Callable[[int], None]
) -> Any:  # daphne has no types
    """A server whose `run()` returns after SIGINT or SIGTERM; `ready` is told the port."""
    from daphne.server import Server

    install()

    class Announced(Server):  # type: ignore[misc]
        failed = False

        def listen_success(self, listening: Any) -> None:
            super().listen_success(listening)
            ready(listening.getHost().port)

        def listen_error(self, failure: Any) -> None:
            self.failed = True
            super().listen_error(failure)

    return Announced(
        application,
        endpoints=[f"tcp:{port}:interface={host}"],
        # Importing an application that answers nobody for a while (a slow query) is no reason
        # to cut it off; sockets are pinged.
        http_timeout=None,
        ping_interval=20,
        ping_timeout=30,
        server_name="heimdall",
    )
