"""Admits the sender of a large request body by its headers, before Django has seen the request."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.http import parse_cookie

from training.accounts import limits, sessions, tokens


@dataclass(frozen=True, slots=True)
class Admission:
    """`room` is the number of bytes that may be stored, and `room_error` the answer beyond it."""

    place: limits.Hold
    room: int | None = None
    room_error: str = ""


def admit(
    authorization: str, cookies: str, trackio_token: str = "", stored_bytes: int | None = None
) -> Admission | None:
    """A place of the user for the upload; None if the headers name no user.

    `stored_bytes` is the announced size of a body that is stored, and 0 if it is not announced.
    Raises LimitReachedError if the user has too many uploads under way, or no room for this one:
    whole bodies are on disk before Django can count them. Called in a thread; leaves no database
    connection behind.
    """
    try:
        user = _find_user(authorization, cookies, trackio_token)
        if user is None:
            return None
        # Staff may add to the jobs of others, whose limit applies.
        if stored_bytes is None or user.is_staff:
            return Admission(limits.Hold(user, limits.UPLOADS))
        used, allowed = limits.used_and_allowed(user.pk, limits.STORED_BYTES)
        error = limits.LimitReachedError(limits.STORED_BYTES, user, used, allowed)
        if used + max(stored_bytes, 1) > allowed:
            raise error
        return Admission(limits.Hold(user, limits.UPLOADS), allowed - used, str(error))
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
