"""Whether a WebSocket was opened by a page of this site, as Django decides it for POST requests.

Cookies and `SameSite` ignore ports, so a page on another port of the host sends the session too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.utils.http import is_same_domain

if TYPE_CHECKING:
    from realtime.consumers import Scope


def is_same_origin(scope: Scope) -> bool:
    """A client without an `Origin` header is not a browser and is accepted."""
    request = _Handshake(scope)
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        return True
    try:
        own = f"{'https' if request.is_secure() else 'http'}://{request.get_host()}"
    except DisallowedHost:
        return False
    return origin == own or _is_trusted(origin, settings.CSRF_TRUSTED_ORIGINS)


class _Handshake(HttpRequest):
    """The handshake as Django reads a request, so that its settings for proxies count."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._is_tls = scope.get("scheme", "ws") in {"wss", "https"}
        for name, value in scope["headers"]:
            variable = f"HTTP_{name.decode('latin1').upper().replace('-', '_')}"
            self.META[variable] = value.decode("latin1")
        host, port = scope.get("server") or ("localhost", 80)
        self.META.update(SERVER_NAME=str(host), SERVER_PORT=str(port))

    def _get_scheme(self) -> str:
        return "https" if self._is_tls else "http"


def _is_trusted(origin: str, trusted_origins: Iterable[str]) -> bool:
    """`trusted_origins` may have wildcards: https://*.example.org."""
    try:
        sent = urlsplit(origin)
    except ValueError:
        return False
    return any(
        sent.scheme == trusted.scheme
        and is_same_domain(sent.netloc, trusted.netloc.lstrip("*"))
        and not sent.path
        for trusted in map(urlsplit, trusted_origins)
    )
