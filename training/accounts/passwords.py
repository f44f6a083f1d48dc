"""Password changes, which end other sessions and, on request, revoke API tokens."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import MinimumLengthValidator

from training.accounts import audit, sessions, tokens


class AuditedMinimumLengthValidator(MinimumLengthValidator):
    """Django calls `password_changed` of validators for every new password, however it was set."""

    def password_changed(self, password: str, user: User | None = None) -> None:
        if user is not None:
            audit.record("password set", user, of=user.username)


def end_access(user: User, *, keep_session: str = "", with_tokens: bool = False) -> None:
    """After a change of the password: sign out elsewhere, and revoke tokens if asked.

    Open WebSockets and event streams of what ends here are closed within seconds.
    """
    sessions.end_sessions(user, keep=keep_session)
    if with_tokens:
        tokens.revoke_tokens(user)
