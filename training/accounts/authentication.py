"""Django's authentication backend, with pauses after failed sign-ins at one account."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.http import HttpRequest

from training.accounts.sign_in_limits import attempt


class LimitedModelBackend(ModelBackend):
    """Pages, admin and token requests authenticate here. Raises TooManyFailuresError."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        if username is None or password is None:
            return None
        with attempt(username, request) as counted:
            user = super().authenticate(request, username, password, **kwargs)
            if user is not None:
                counted.succeeded()
        return user if isinstance(user, User) else None
