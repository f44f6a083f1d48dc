"""System checks: what the environment says is refused at the start, with the way out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

MIN_SECRET_LENGTH = 32


@register()
def environment(**_: Any) -> list[CheckMessage]:
    """heimdall.E001 to E006: each variable as `heimdall.env` found it."""
    return [
        Error(problem.message, hint=problem.hint, id=problem.id)
        for problem in settings.ENVIRONMENT_PROBLEMS
    ]


@register()
def secret_key(**_: Any) -> list[CheckMessage]:
    """heimdall.E007: a key that can be guessed signs nothing."""
    if len(settings.SECRET_KEY) >= MIN_SECRET_LENGTH:
        return []
    return [
        Error(
            f"DJANGO_SECRET_KEY has {len(settings.SECRET_KEY)} characters; "
            f"at least {MIN_SECRET_LENGTH} are needed.",
            hint="Unset it (one is made and kept in the data folder), or set a long random one.",
            id="heimdall.E007",
        )
    ]


def refuse_to_start() -> None:
    """For servers that run no checks themselves: end with the sentences, if there are any."""
    found = [*environment(), *secret_key()]
    if found:
        raise SystemExit("\n".join(str(message) for message in found))
