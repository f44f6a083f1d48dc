"""What a page of ours may load and run: our own files, nothing inline, nobody else's.

Content Security Policy, level 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

OURS = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# The viewer of the API's schema styles itself.
DOCS = {"style-src": "'self' 'unsafe-inline'"}


def content_security_policy(request: HttpRequest) -> str:
    """The header's value; sockets are named, since not every browser counts them as our own."""
    host = request.get_host()
    rules = {**OURS, "connect-src": f"'self' ws://{host} wss://{host}"}
    match = request.resolver_match
    if match is not None and match.view_name == "docs":
        rules |= DOCS
    return "; ".join(f"{name} {value}" for name, value in rules.items())


@sync_and_async_middleware
def policy(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware: each answer says what it may load."""

    def said(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Content-Security-Policy", content_security_policy(request))
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), microphone=(), geolocation=()"
        )
        return response

    if iscoroutinefunction(get_response):

        async def around_async(request: HttpRequest) -> HttpResponseBase:
            return said(request, await get_response(request))

        return around_async

    def around(request: HttpRequest) -> HttpResponseBase:
        return said(request, get_response(request))

    return around
