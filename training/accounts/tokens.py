"""API tokens. Only a digest is stored, so a stolen database contains no usable token."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.contrib.auth.models import User
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from training.accounts import audit
from training.models import ApiToken

LIFETIME_DAYS = 90
# Limits writes: a busy program does not cause one with every call.
LAST_USED_RESOLUTION = timedelta(minutes=1)
VALID = Q(expires_at=None) | Q(expires_at__gt=Now())


def create_token(user: User, name: str = "", days: int = LIFETIME_DAYS) -> tuple[ApiToken, str]:
    """Return the row and the token itself, which cannot be read again."""
    token = secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user,
        digest=_digest(token),
        name=name,
        expires_at=timezone.now() + timedelta(days=days),
    )
    audit.record("token made", row, user.username, days=days)
    return row, token


def revoke_token(row: ApiToken) -> None:
    audit.record("token revoked", row, of=row.user.username)
    row.delete()


def authenticate(token: str) -> User | None:
    """The token's user; None if the token is unknown or expired, or the user is inactive."""
    rows = ApiToken.objects.filter(VALID, digest=_digest(token), user__is_active=True)
    row = rows.select_related("user").first()
    if row is None:
        return None
    now = timezone.now()
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_RESOLUTION:
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    return row.user


def valid_token_ids(tokens: Collection[str]) -> set[str]:
    """The tokens that are known and have not expired."""
    by_digest = {_digest(token): token for token in tokens}
    rows = ApiToken.objects.filter(VALID, digest__in=by_digest)
    return {by_digest[digest] for digest in rows.values_list("digest", flat=True)}


def _digest(token: str) -> str:
    # A slow hash is for passwords: 256 random bits cannot be guessed.
    return hashlib.sha256(token.encode()).hexdigest()
