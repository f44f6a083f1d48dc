"""API tokens. Only a digest is stored, so a stolen database contains no usable token."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from training.accounts import audit
from training.models import ApiToken, Job
from training.models.scopes import DEFAULT_SCOPES, SCOPES, MissingScopeError, Scope
from training.models.states import Status
from training.validation import InvalidInputError

LIFETIME_DAYS = 90
MAX_TOKENS = 100  # per user
# Limits writes: a busy program does not cause one with every call.
LAST_USED_RESOLUTION = timedelta(minutes=1)


def valid() -> Q:
    """Tokens that have not expired, also by a limit that was lowered since they were created, and
    whose job has not ended."""
    oldest = Now() - timedelta(days=int(settings.TOKEN_MAX_DAYS))
    unexpired = Q(expires_at=None) | Q(expires_at__gt=Now())
    unended = Q(job=None) | Q(job__status=Status.RUNNING)
    return unexpired & unended & Q(created_at__gt=oldest)


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """The token of a request, and what it permits. `withheld_staff`: its user is staff, but the
    token lacks the scope `admin`."""

    token: str = field(repr=False)
    token_id: int
    scopes: frozenset[str]
    withheld_staff: bool

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes:
            raise MissingScopeError(scope, self.scopes)


def default_days() -> int:
    return min(LIFETIME_DAYS, int(settings.TOKEN_MAX_DAYS))


def create_token(
    user: User, name: str = "", days: int | None = None, scopes: Collection[str] = DEFAULT_SCOPES
) -> tuple[ApiToken, str]:
    """Return the row and the token itself, which cannot be read again.

    Raises InvalidInputError for too many days or tokens.
    """
    days = default_days() if days is None else days
    if days > settings.TOKEN_MAX_DAYS:
        message = f"{days} is too large; it must be at most {settings.TOKEN_MAX_DAYS}."
        raise InvalidInputError({"days": [message]})
    ApiToken.objects.filter(user=user).exclude(valid()).delete()
    if ApiToken.objects.filter(user=user, job=None).count() >= MAX_TOKENS:
        message = f"You already have {MAX_TOKENS} tokens, the maximum; revoke one first."
        raise InvalidInputError({"": [message]})
    token = secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user,
        digest=_digest(token),
        name=name,
        scopes=[name for name in SCOPES if name in scopes],
        expires_at=timezone.now() + timedelta(days=days),
    )
    audit.record("token created", _describe(row), user.username, days=days, scopes=row.scopes)
    return row, token


def create_job_token(job: Job) -> str:
    """A token of the job's owner for the program of the job; that of an earlier attempt ends."""
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        delete_job_token(job)
        ApiToken.objects.create(
            user_id=job.owner_id,
            job=job,
            digest=_digest(token),
            name=f"job {job.pk}",
            scopes=["read", "report"],
            expires_at=timezone.now() + timedelta(days=int(settings.TOKEN_MAX_DAYS)),
        )
    return token


def delete_job_token(job: Job) -> None:
    ApiToken.objects.filter(job=job).delete()


def revoke_tokens(user: User) -> int:
    """Revoke all tokens of the user."""
    rows = list(ApiToken.objects.filter(user=user).select_related("user"))
    for row in rows:
        revoke_token(row)
    return len(rows)


def revoke_token(row: ApiToken) -> None:
    audit.record("token revoked", _describe(row), of=row.user.username)
    row.delete()


def token_in(authorization: str) -> str | None:
    """The token of an Authorization header: the bearer token, or the password of basic
    authentication; None for another header."""
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic":
            try:
                text = base64.b64decode(credentials, validate=True).decode()
            except ValueError:
                return ""
            return text.partition(":")[2]
    return None


def authenticate(token: str) -> tuple[User, TokenCredential] | None:
    """The token's user; None if the token is unknown or expired, or the user is inactive.

    Without the scope `admin` the user has no rights of staff.
    """
    rows = ApiToken.objects.filter(valid(), digest=_digest(token), user__is_active=True)
    row = rows.select_related("user").first()
    if row is None:
        return None
    now = timezone.now()
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_RESOLUTION:
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    user, scopes = row.user, frozenset(row.scopes)
    withheld = user.is_staff and "admin" not in scopes
    if withheld:
        user.is_staff = user.is_superuser = False  # of this object, which is never saved
    return user, TokenCredential(token, row.pk, scopes, withheld)


def _describe(row: ApiToken) -> str:
    return f"token {row.pk} {row.name!r}" if row.name else f"token {row.pk} without a name"


def valid_token_ids(tokens: Collection[str]) -> set[str]:
    """The tokens that are known and have not expired."""
    by_digest = {_digest(token): token for token in tokens}
    rows = ApiToken.objects.filter(valid(), digest__in=by_digest)
    return {by_digest[digest] for digest in rows.values_list("digest", flat=True)}


def _digest(token: str) -> str:
    # A slow hash is for passwords: 256 random bits cannot be guessed.
    return hashlib.sha256(token.encode()).hexdigest()
