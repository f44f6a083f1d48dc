"""API tokens: shown once, kept as a digest, so that a stolen database opens no door."""

from __future__ import annotations

import hashlib
import secrets

from django.contrib.auth.models import User

from training.models import ApiToken


def issue(user: User) -> str:
    """A new token for this user; it can not be read again."""
    token = secrets.token_urlsafe(32)
    ApiToken.objects.create(user=user, digest=_digest(token))
    return token


def user_for(token: str) -> User | None:
    """Whose token this is; None where it is unknown or its user may not sign in."""
    found = (
        ApiToken.objects.filter(digest=_digest(token), user__is_active=True)
        .select_related("user")
        .first()
    )
    return found.user if found else None


def _digest(token: str) -> str:
    # 256 random bits need no slow hash: there is nothing to guess.
    return hashlib.sha256(token.encode()).hexdigest()
