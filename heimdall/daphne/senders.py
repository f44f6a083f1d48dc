"""Admits the sender of a large request body by its headers, before Django has seen the request."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.http import parse_cookie

from training.accounts import limits, sessions, tokens


def admit(
    authorization: str, cookies: str, trackio_token: str = "", stored_bytes: int = 0
) -> limits.Hold | None:
    """A place of the user for the upload; None if the headers name no user.

    Raises LimitReachedError if the user has too many under way, or no room for what the request
    stores: whole bodies are on disk before Django can count them. Called in a thread; leaves no
    database connection behind.
    """
    try:
        user = _find_user(authorization, cookies, trackio_token)
        if user is None:
            return None
        # Staff may add to the jobs of others, whose limit applies.
        if stored_bytes and not user.is_staff:
            limits.require_room(user, limits.STORED_BYTES, stored_bytes)
        return limits.Hold(user, limits.UPLOADS)
    finally:
        if not connection.in_atomic_block:
            connection.close()


def _find_user(authorization: str, cookies: str, trackio_token: str) -> User | None:
    token = trackio_token or tokens.token_in(authorization)
    if token is not None:
        found = tokens.authenticate(token)
        return found[0] if found else None
    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME, "")
    return sessions.authenticate(key) if key else None
