"""Which socket answers where, and who stands behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from django.urls import re_path

from realtime.consumers import JobEventsConsumer, Receive, Scope, Send, UserForToken
from realtime.hub import Hub
from realtime.protocol import Close

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def websocket_application(hub: Callable[[], Hub], user_for_token: UserForToken) -> Any:
    """Sockets over this hub; a token is turned into a user by `user_for_token`."""

    socket = JobEventsConsumer(hub, user_for_token)
    routes: list[tuple[str, Any]] = [
        (r"^ws$", socket),
        (rf"^ws/training/(?P<job_id>{_UUID})$", socket),
        (r"", _not_found),
    ]
    return AuthMiddlewareStack(URLRouter([re_path(*route) for route in routes]))


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": Close.NOT_FOUND})
