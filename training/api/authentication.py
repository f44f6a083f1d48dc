"""`Authorization: Bearer <token>`."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from training.accounts import tokens


class BearerAuthentication(BaseAuthentication):
    """The token identifies the user; without the header the next class is tried."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        user = tokens.authenticate(token.strip())
        if user is None:
            raise AuthenticationFailed(
                "Unknown or expired token; request one with POST /api/v1/auth/token, username and "
                "password."
            )
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="heimdall"'


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = BearerAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
