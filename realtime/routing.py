"""Which socket answers where, and who stands behind it."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.layers import channel_layers
from channels.routing import URLRouter
from django.conf import settings
from django.urls import re_path

from realtime.broker import listen_locally
from realtime.consumers import Receive, Scope, Send, Socket, UserForToken, hub_of_this_loop
from realtime.hub import Hub
from realtime.journal import Journal
from realtime.protocol import Close

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def websocket_application(journal: Journal, user_for_token: UserForToken) -> Any:
    """Sockets over this journal; a token is turned into a user by `user_for_token`."""

    def make_hub() -> Hub:
        # Not the registry's own: it belongs to one event loop, as the hub does.
        layer = channel_layers.make_backend("default")
        if settings.EMBEDDED:
            listen_locally(layer)
        return Hub(journal, layer)

    socket = Socket(hub_of_this_loop(make_hub), user_for_token)
    routes: list[tuple[str, Any]] = [
        (r"^ws$", socket),
        (rf"^ws/training/(?P<job_id>{_UUID})$", socket),
        (r"", _no_such_socket),
    ]
    return AuthMiddlewareStack(URLRouter([re_path(*route) for route in routes]))


async def _no_such_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": Close.NOT_FOUND})
