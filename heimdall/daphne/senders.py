"""Whether the headers of a request name a user, before Django has seen the request."""

from __future__ import annotations

from django.conf import settings
from django.db import connection
from django.http import parse_cookie

from training.accounts import sessions, tokens


def is_authenticated(authorization: str, cookies: str, trackio_token: str = "") -> bool:
    """Called in a thread; leaves no database connection behind."""
    try:
        token = trackio_token or tokens.token_in(authorization)
        if token is not None:
            return tokens.authenticate(token) is not None
        key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME, "")
        return bool(key) and sessions.authenticate(key) is not None
    finally:
        if not connection.in_atomic_block:
            connection.close()
