"""API tokens, sessions, idempotency keys, rate limits and the audit log."""

from __future__ import annotations

import uuid
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models

from training.models.scopes import DEFAULT_SCOPES

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase


def default_scopes() -> list[str]:
    return list(DEFAULT_SCOPES)


class ApiToken(models.Model):
    """A bearer token; only its digest is stored."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=100, blank=True)
    scopes = models.JSONField(default=default_scopes)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    # Of the program of this job: valid while the job runs.
    job = models.ForeignKey("training.Job", models.CASCADE, null=True, related_name="+")

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return self.name or "unnamed"


class UserSession(AbstractBaseSession):
    """A browser session, with what its user needs to recognize it (`training.accounts.sessions`).

    `auth_hash` changes with the user's password, which ends the session's open connections.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="sessions"
    )
    auth_hash = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)

    class Meta(AbstractBaseSession.Meta):
        abstract = False
        ordering: ClassVar = ["-last_used_at", "session_key"]
        verbose_name = "session"
        verbose_name_plural = "sessions"

    def __str__(self) -> str:
        # The session key is a credential, so it must not appear in logs.
        return f"session of {self.user_id}"

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
        return store


class SignInAttempts(models.Model):
    """Failed sign-ins at one account, or at one account from one network
    (`training.accounts.sign_in_limits`).

    `key` is a digest: a mistyped name may be a password.
    """

    key = models.CharField(max_length=64, unique=True)
    failures = models.PositiveIntegerField(default=0)
    blocked_until = models.DateTimeField(null=True)
    # The account was signed in to from this network before.
    is_known = models.BooleanField(default=False)
    updated_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.failures} failures"


class IdempotencyKey(models.Model):
    """A create request with a key, and its response (`training.accounts.idempotency`)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)  # of the request
    claim = models.UUIDField(default=uuid.uuid4)
    claimed_at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True)  # of the response; None: in progress
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_of_user")
        ]

    def __str__(self) -> str:
        return self.key


class Allowance(models.Model):
    """The use of a rate limit in the present window (`training.accounts.rate_limits`)."""

    who = models.CharField(max_length=100, unique=True)
    window = models.PositiveBigIntegerField(db_index=True)  # windows since 1970
    drawn = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.who}: {self.drawn}"


class AuditEntry(models.Model):
    """A user's action and its origin. State changes of jobs are in their events."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=150)  # by name, which remains when the user is deleted
    action = models.CharField(max_length=40, db_index=True)
    target = models.CharField(max_length=250, blank=True)
    detail = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=45, blank=True)

    class Meta:
        ordering: ClassVar = ["-at", "-id"]
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target}"


class LimitOverride(models.Model):
    """The limit of one user instead of the operator's default (`training.accounts.limits`)."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="limit_overrides"
    )
    name = models.CharField("limit", max_length=40)
    maximum = models.PositiveBigIntegerField()

    class Meta:
        ordering: ClassVar = ["user", "name"]
        verbose_name = "limit of a user"
        verbose_name_plural = "limits of users"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "name"], name="limit_once_per_user")
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class ImportInProgress(models.Model):
    """An import that a web process is working on."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    started_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"import of {self.user}"
