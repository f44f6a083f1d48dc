"""The Content-Security-Policy header, from the setting SECURE_CSP in the form of Django 6.0."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.conf import settings
from django.http import HttpRequest

from training.middleware import Around, middleware


def content_security_policy(policy: Mapping[str, Collection[str]], host: str) -> str:
    """The header's value. Not every browser lets 'self' cover WebSockets, so they are added."""
    connect = [*policy["connect-src"], f"ws://{host}", f"wss://{host}"]
    directives = {**policy, "connect-src": connect}
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


@middleware
def csp_middleware(request: HttpRequest) -> Around:
    """A view can override the policy as in Django 6.0 (`training.api.csp.csp_override`)."""
    response = yield
    policy = getattr(response, "_csp_config", settings.SECURE_CSP)
    value = content_security_policy(policy, request.get_host())
    response.headers.setdefault("Content-Security-Policy", value)
    response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
