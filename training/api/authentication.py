"""`Authorization: Bearer <token>`."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from training.accounts import tokens
from training.accounts.tokens import TokenCredential
from training.api.scopes import required_scope
from training.models.scopes import SCOPES


def authenticate(token: str) -> tuple[User, TokenCredential]:
    """The user of an API token; raises AuthenticationFailed."""
    found = tokens.authenticate(token)
    if found is None:
        raise AuthenticationFailed(
            "Unknown or expired token; request one with POST /api/v1/auth/token, username and "
            "password."
        )
    return found


class BearerAuthentication(BaseAuthentication):
    """The token identifies the user; without the header the next class is tried."""

    def authenticate(self, request: Request) -> tuple[User, TokenCredential] | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        return authenticate(token.strip())

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="heimdall"'


class TokenAuthentication(BearerAuthentication):
    """The same, for clients that may also send the token as the password of basic
    authentication."""

    def authenticate(self, request: Request) -> tuple[User, TokenCredential] | None:
        token = tokens.token_in(request.headers.get("Authorization", ""))
        if token is None:
            return None
        return authenticate(token)


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = BearerAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        scopes = "\n".join(f"* `{name}`: {text}" for name, text in SCOPES.items())
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from `POST /api/v1/auth/token`. "
            f"Its scopes permit:\n\n{scopes}",
        }

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[str]]:
        # OpenAPI 3.1 allows role names here for schemes other than OAuth 2.
        scope = required_scope(auto_schema.view, auto_schema.method)
        return {self.name: [scope] if scope else []}
