"""System checks of the configuration: which variable, which value, and the fix."""

from __future__ import annotations

import logging
import shlex
import stat
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning

from heimdall.env import is_readable_by_others
from training.programs.manifest import ManifestError
from training.programs.registry import load_installed
from training.programs.toml_manifest import FILE

MIN_SECRET_LENGTH = 32

log = logging.getLogger(__name__)


@register()
def environment(**_: Any) -> list[CheckMessage]:
    return [
        Error(problem.message, hint=problem.hint, id=problem.id)
        for problem in settings.ENVIRONMENT_PROBLEMS
    ]


@register()
def oidc(**_: Any) -> list[CheckMessage]:
    given = {
        "HEIMDALL_OIDC_CLIENT_ID": bool(settings.OIDC_CLIENT_ID),
        "HEIMDALL_OIDC_CLIENT_SECRET": settings.OIDC_HAS_SECRET,
    }
    if not settings.OIDC_PROVIDER_ID or all(given.values()):
        return []
    missing = " and ".join(name for name, is_given in given.items() if not is_given)
    return [
        Error(
            f"HEIMDALL_OIDC_ISSUER is set, but not {missing}.",
            hint="Set what the provider gave you, or unset HEIMDALL_OIDC_ISSUER.",
            id="heimdall.E023",
        )
    ]


@register()
def data_folder(**_: Any) -> list[CheckMessage]:
    path = Path(settings.DATA_DIR)
    if not is_readable_by_others(path):
        return []
    mode = stat.S_IMODE(path.stat().st_mode)
    return [
        CheckWarning(
            f"HEIMDALL_DATA_DIR={str(path)!r} is open to other users of this machine (mode "
            f"{mode:04o}): they may read sessions and data.",
            hint=f"Run: chmod 700 {shlex.quote(str(path))}",
            id="heimdall.W001",
        )
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


@register()
def programs(**_: Any) -> list[CheckMessage]:
    return [
        Error(
            str(problem),
            hint=f"Correct {FILE}, or remove the program's folder.",
            id="heimdall.E011",
        )
        for _, problem in load_installed()
        if isinstance(problem, ManifestError)
    ]


def refuse_to_start() -> None:
    """Exit with the messages of failed checks, for servers that do not run Django's checks."""
    for warning in data_folder():
        log.warning("%s", warning)
    errors = [*environment(), *secret_key(), *programs(), *oidc()]
    if errors:
        raise SystemExit("\n".join(str(error) for error in errors))
