"""Serving below a path such as /heimdall, behind a proxy that shares the host with other sites."""

from __future__ import annotations

from typing import Any

# Daphne takes the root path from this header of any client.
_ROOT_PATH_HEADER = b"daphne-root-path"


def without_base_path(path: bytes, base_path: str) -> bytes:
    """The path as the URL patterns see it."""
    prefix = base_path.encode()
    return path[len(prefix) :] if path.startswith(prefix + b"/") else path


class BasePathApplication:
    """An ASGI application whose path always begins with the base path.

    A proxy may pass the base path on or remove it. Probes inside the network need not send it.
    """

    def __init__(self, application: Any, base_path: str) -> None:
        self._application, self._base_path = application, base_path

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = {
                **scope,
                "root_path": self._base_path,
                "path": self._with_base_path(scope["path"]),
                "headers": [
                    header for header in scope["headers"] if header[0] != _ROOT_PATH_HEADER
                ],
            }
        await self._application(scope, receive, send)

    def _with_base_path(self, path: str) -> str:
        if path == self._base_path:
            return f"{path}/"
        if path.startswith(f"{self._base_path}/"):
            return path
        return f"{self._base_path}{path}"
