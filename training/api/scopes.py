"""The scope that a request needs of its token: `read` for safe methods, else `train`.

A view that needs another one has it in `scope`, or for an action in `scopes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from training.accounts.tokens import TokenCredential
from training.models.scopes import Scope

if TYPE_CHECKING:  # circular: its import loads the class below from the settings
    from rest_framework.views import APIView


def required_scope(view: Any, method: str) -> Scope | None:
    """The scope that a token needs for the request; None if any token, or no token, will do."""
    if not any(isinstance(permission, HasScope) for permission in view.get_permissions()):
        return None
    by_action: Mapping[str, Scope] = getattr(view, "scopes", {})
    declared: Scope | None = getattr(view, "scope", None)
    return by_action.get(getattr(view, "action", None) or "", declared) or (
        "read" if method in SAFE_METHODS else "train"
    )


class HasScope(BasePermission):
    """Raises MissingScopeError; sessions have every scope."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        scope = required_scope(view, str(request.method))
        if scope and isinstance(request.auth, TokenCredential):
            request.auth.require(scope)
        return True
