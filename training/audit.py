"""The trail of who did what: written with the deed, shown on the desk, changed by nobody."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import signals
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest

from training import context
from training.models import AuditEntry

SYSTEM = "system"


def note(action: str, target: Model | str, actor: str = "", **detail: Any) -> None:
    """Record it as the doing of whoever asks; of `actor` where that is told."""
    request = context.request.get()
    user = getattr(request, "user", None)
    AuditEntry.objects.create(
        actor=(actor or getattr(user, "username", "") or SYSTEM)[:150],
        action=action,
        target=(target if isinstance(target, str) else _named(target))[:250],
        detail=detail,
        request_id=context.request_id.get(),
        address=context.address(request) if request else "",
    )


def _named(row: Model) -> str:
    return f"{type(row).__name__.lower()} {row.pk} {row}"


def _signed_in(user: User, **_: Any) -> None:
    note("sign in", user, user.username)


def _signed_out(user: User | None, **_: Any) -> None:
    if user is not None:
        note("sign out", user, user.username)


def _refused(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    # The name as it was typed is kept as a target: nobody has proved to be that.
    note("sign in refused", str(credentials.get("username", ""))[:150])


def listen() -> None:
    """Hear of every sign-in, through whatever door."""
    signals.user_logged_in.connect(_signed_in, dispatch_uid="audit")
    signals.user_logged_out.connect(_signed_out, dispatch_uid="audit")
    signals.user_login_failed.connect(_refused, dispatch_uid="audit")
