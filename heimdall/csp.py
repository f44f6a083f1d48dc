"""What a page of ours may load and run: our own files, nothing inline, nobody else's.

Content Security Policy, level 3.
"""

from __future__ import annotations

from django.http import HttpRequest

from training.middleware import Around, middleware

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


@middleware
def csp_middleware(request: HttpRequest) -> Around:
    """Each answer says what it may load."""
    headers = (yield).headers
    headers.setdefault("Content-Security-Policy", content_security_policy(request))
    headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
