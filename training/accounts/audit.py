"""Append-only audit log, written in the same transaction as the action."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import signals
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest

from training import request_context
from training.models import AuditEntry

SYSTEM = "system"


def record(action: str, target: Model | str, actor: str = "", **detail: Any) -> None:
    """Record an action of the current request's user, or of `actor` if given."""
    request = request_context.request.get()
    user = getattr(request, "user", None)
    AuditEntry.objects.create(
        actor=(actor or getattr(user, "username", "") or SYSTEM)[:150],
        action=action,
        target=(target if isinstance(target, str) else _describe(target))[:250],
        detail=detail,
        request_id=request_context.request_id.get(),
        address=request_context.client_address(request) if request else "",
    )


def _describe(instance: Model) -> str:
    return f"{type(instance).__name__.lower()} {instance.pk} {instance}"


def _record_sign_in(user: User, **_: Any) -> None:
    record("sign in", user, user.username)


def _record_sign_out(user: User | None, **_: Any) -> None:
    if user is not None:
        record("sign out", user, user.username)


def _record_failed_sign_in(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    # The name is stored as the target, not the actor: the client has not proved who it is.
    record("sign in refused", str(credentials.get("username", ""))[:150])


def connect_signals() -> None:
    """Record sign-ins through every route: pages, admin and API."""
    signals.user_logged_in.connect(_record_sign_in, dispatch_uid="audit")
    signals.user_logged_out.connect(_record_sign_out, dispatch_uid="audit")
    signals.user_login_failed.connect(_record_failed_sign_in, dispatch_uid="audit")
