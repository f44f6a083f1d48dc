"""API tokens: shown once, kept as a digest, so that a stolen database opens no door."""

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

DAYS = 90
# A busy program must not cost a write with every call.
LAST_USED_RESOLUTION = timedelta(minutes=1)
VALID = Q(expires_at=None) | Q(expires_at__gt=Now())


def create_token(user: User, name: str = "", days: int = DAYS) -> str:
    """A new token for this user; it can not be read again."""
    return create_token_row(user, name, days)[1]


def create_token_row(user: User, name: str = "", days: int = DAYS) -> tuple[ApiToken, str]:
    """The row, and the token itself."""
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
    """From now on it opens nothing."""
    audit.record("token revoked", row, of=row.user.username)
    row.delete()


def authenticate(token: str) -> User | None:
    """Whose token this is; None where it is unknown or run out, or its user may not sign in."""
    rows = ApiToken.objects.filter(VALID, digest=_digest(token), user__is_active=True)
    found = rows.select_related("user").first()
    if found is None:
        return None
    now = timezone.now()
    if found.last_used_at is None or now - found.last_used_at > LAST_USED_RESOLUTION:
        ApiToken.objects.filter(pk=found.pk).update(last_used_at=now)
    return found.user


def valid_token_ids(tokens: Collection[str]) -> set[str]:
    """Those of them that are known and have not run out."""
    digests = {_digest(token): token for token in tokens}
    rows = ApiToken.objects.filter(VALID, digest__in=digests)
    return {digests[digest] for digest in rows.values_list("digest", flat=True)}


def _digest(token: str) -> str:
    # 256 random bits need no slow hash: there is nothing to guess.
    return hashlib.sha256(token.encode()).hexdigest()
