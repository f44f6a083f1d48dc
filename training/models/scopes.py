"""The scopes of API tokens. A session permits everything that its user may do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal

Scope = Literal["read", "report", "train", "admin"]

SCOPES: Final[Mapping[Scope, str]] = {
    "read": "see jobs, datasets and models, and predict",
    "report": "report trainings that run elsewhere, and store their files",
    "train": "create, change, control and delete jobs, sweeps, datasets, projects and webhooks",
    "admin": "see and control what belongs to other users, if its user is staff",
}
DEFAULT_SCOPES: Final[tuple[Scope, ...]] = ("read", "report", "train")


class MissingScopeError(Exception):
    """The token does not permit the request."""

    def __init__(self, scope: Scope, granted: Collection[str]) -> None:
        has = ", ".join(name for name in SCOPES if name in granted) or "none"
        super().__init__(
            f"This token lacks the scope {scope!r} ({SCOPES[scope]}). Its scopes: {has}. "
            "Create a token with the missing scope at /account."
        )
