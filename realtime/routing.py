"""URL routing of WebSockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from channels.routing import URLRouter
from django.urls import re_path

from realtime.consumers import (
    JobEventsConsumer,
    Receive,
    Scope,
    Send,
    UserForSession,
    UserForToken,
)
from realtime.hub import Hub
from realtime.protocol import Close

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


def websocket_application(
    get_hub: Callable[[], Hub],
    user_for_token: UserForToken,
    user_for_session: UserForSession,
    max_connections: Callable[[int], int] | None = None,
) -> Any:
    consumer = JobEventsConsumer(get_hub, user_for_token, user_for_session, max_connections)
    routes: list[tuple[str, Any]] = [
        (r"^ws$", consumer),
        (rf"^ws/training/(?P<job_id>{_UUID})$", consumer),
        (r"", _not_found),
    ]
    return URLRouter([re_path(*route) for route in routes])


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": Close.NOT_FOUND})
