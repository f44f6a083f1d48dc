"""Append-only audit log, written in the same transaction as the action."""

from __future__ import annotations

from typing import Any, TypedDict

from django.contrib.auth import signals
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest

from training import request_context
from training.models import AuditEntry

SYSTEM = "system"
MAX_NAME = 150


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


def _record_sign_in(user: User, request: HttpRequest | None = None, **_: Any) -> None:
    record("sign in", user, user.username)


def _record_sign_out(user: User | None, **_: Any) -> None:
    if user is not None:
        record("sign out", user, user.username)


class Credentials(TypedDict, total=False):
    username: str


def _record_failed_sign_in(
    credentials: Credentials, request: HttpRequest | None = None, **_: Any
) -> None:
    # As the target, not the actor: the client has not proved who it is. A name without an account
    # is not kept, because it is often a password in the wrong field.
    name = str(credentials.get("username", ""))
    is_known = len(name) <= MAX_NAME and User.objects.filter(username=name).exists()
    record("sign in refused", name if is_known else "unknown name")


def connect_signals() -> None:
    """Record sign-ins through every route: pages, admin and API."""
    signals.user_logged_in.connect(_record_sign_in, dispatch_uid="audit")
    signals.user_logged_out.connect(_record_sign_out, dispatch_uid="audit")
    signals.user_login_failed.connect(_record_failed_sign_in, dispatch_uid="audit")
