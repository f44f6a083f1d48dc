"""Browser sessions as rows that name their user, so that a user can list and end them.

The engine of `SESSION_ENGINE`:
https://docs.djangoproject.com/en/5.2/topics/http/sessions/#extending-database-backed-session-engines
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user, signals
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone

from training import request_context
from training.accounts import audit
from training.models import UserSession

# Limits writes: an open page does not cause one with every request.
LAST_USED_RESOLUTION = timedelta(minutes=1)
_SINCE, _ADDRESS, _USER_AGENT = "signed_in_at", "signed_in_from", "signed_in_with"


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> type[UserSession]:
        return UserSession

    def _get_session_from_db(self) -> UserSession | None:
        row: UserSession | None = super()._get_session_from_db()  # type: ignore[misc]
        now = timezone.now()
        if row is not None and now - row.last_used_at > LAST_USED_RESOLUTION:
            UserSession.objects.filter(pk=row.pk).update(last_used_at=now)
        return row

    def create_model_instance(self, data: dict[str, Any]) -> UserSession:
        row = cast(UserSession, super().create_model_instance(data))
        if SESSION_KEY in data:
            row.user_id = int(data[SESSION_KEY])
            row.auth_hash = data.get(HASH_SESSION_KEY, "")
        row.last_used_at = timezone.now()
        since = data.get(_SINCE)
        row.created_at = datetime.fromisoformat(since) if since else row.last_used_at
        row.address, row.user_agent = data.get(_ADDRESS, ""), data.get(_USER_AGENT, "")
        return row

    async def acreate_model_instance(self, data: dict[str, Any]) -> UserSession:
        # Without these columns the row is rejected, and Django retries endlessly with other keys.
        return await sync_to_async(self.create_model_instance)(data)


def _describe_sign_in(request: HttpRequest, **_: Any) -> None:
    """Store in the session when and from where its user signed in."""
    session = getattr(request, "session", None)
    if session is not None:
        session[_SINCE] = timezone.now().isoformat()
        session[_ADDRESS] = request_context.client_address(request)
        session[_USER_AGENT] = request.headers.get("User-Agent", "")[:200]


def connect_signals() -> None:
    signals.user_logged_in.connect(_describe_sign_in, dispatch_uid="sessions")


def authenticate(key: str) -> User | None:
    """The user of the session; None if it is not signed in, or the user is inactive."""
    request = HttpRequest()
    request.session = SessionStore(key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def sessions_of(user: User) -> QuerySet[UserSession]:
    """The sessions that are signed in now; others are left over from an earlier password."""
    return UserSession.objects.filter(
        user=user, expire_date__gt=Now(), auth_hash__in=_session_hashes(user)
    )


def end_sessions(user: User, keep: str = "") -> int:
    """Sign the user out everywhere but in the session with the key `keep`."""
    rows = UserSession.objects.filter(user=user).exclude(session_key=keep)
    ended, _ = rows.delete()
    if ended:
        audit.record("sessions ended", user, of=user.username, sessions=ended)
    return ended


def end_session(row: UserSession) -> None:
    owner = row.user.username if row.user else ""
    audit.record("session ended", f"session from {row.address}", of=owner)
    row.delete()


def valid_session_keys(keys: Collection[str]) -> set[str]:
    """The keys of sessions that are signed in: not ended, expired or of an earlier password."""
    rows = UserSession.objects.filter(session_key__in=keys, expire_date__gt=Now())
    return {
        row.session_key
        for row in rows.select_related("user").defer("session_data")
        if row.user is not None and row.auth_hash in _session_hashes(row.user)
    }


def _session_hashes(user: User) -> set[str]:
    return {user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()}
