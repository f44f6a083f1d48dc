"""System checks of the configuration: which variable, which value, and the way out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

MIN_SECRET_LENGTH = 32


@register()
def environment(**_: Any) -> list[CheckMessage]:
    """Report invalid variables: heimdall.E001 to E006, E008 and E009 of `heimdall.env`."""
    return [
        Error(problem.message, hint=problem.hint, id=problem.id)
        for problem in settings.ENVIRONMENT_PROBLEMS
    ]


@register()
def secret_key(**_: Any) -> list[CheckMessage]:
    if len(settings.SECRET_KEY) >= MIN_SECRET_LENGTH:
        return []
    return [
        Error(
            f"DJANGO_SECRET_KEY has {len(settings.SECRET_KEY)} characters; "
            f"at least {MIN_SECRET_LENGTH} are needed.",
            hint="Unset it to have one created in the data directory, or set a long random value.",
            id="heimdall.E007",
        )
    ]


def refuse_to_start() -> None:
    """Exit with the messages of failed checks, for servers that do not run Django's checks."""
    errors = [*environment(), *secret_key()]
    if errors:
        raise SystemExit("\n".join(str(error) for error in errors))
