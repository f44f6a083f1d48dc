"""The environment, read with types: a wrong value is kept as a problem for `heimdall.checks`.

Settings must load even where a value is wrong, or else nothing could say so in a sentence.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_ENGINES = {
    "django.db.backends.sqlite3": "sqlite:///FILE",
    "django.db.backends.postgresql": "postgres://USER:PASSWORD@HOST:PORT/NAME",
}
_NVIDIA = "/dev/nvidiactl"


@dataclass(frozen=True, slots=True)
class Problem:
    """One variable's value, what is wrong with it, and the way out."""

    id: str
    message: str
    hint: str


class Environment:
    """Readers of variables; an empty one counts as unset."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def text(self, name: str, default: str = "") -> str:
        return os.environ.get(name, "") or default

    def words(self, name: str, default: list[str]) -> list[str]:
        found = [word.strip() for word in self.text(name).split(",")]
        return [word for word in found if word] or default

    def switch(self, name: str, *, default: bool) -> bool:
        value = self.text(name).lower()
        if value and value not in _TRUE | _FALSE:
            self._refuse("E001", name, value, "is neither true nor false", "Set it to 1 or 0.")
        return value in _TRUE if value in _TRUE | _FALSE else default

    def count(self, name: str, default: int, least: int = 1) -> int:
        value = self.text(name, str(default))
        if value.isascii() and value.isdigit() and int(value) >= least:
            return int(value)
        why = f"is no whole number of at least {least}"
        self._refuse("E005", name, value, why, f"Try {default}.")
        return default

    def broker(self, name: str) -> str | None:
        """An AMQP URL; None where none is named."""
        value = self.text(name)
        if not value:
            return None
        parts = urlsplit(value)
        try:
            fine = (
                parts.scheme in {"amqp", "amqps", "pyamqp"} and parts.hostname and parts.port != 0
            )
        except ValueError:
            fine = False
        if not fine:
            way_out = "Write amqp://USER:PASSWORD@HOST:5672/%2F, or unset it to run embedded."
            self._refuse("E002", name, _masked(value), "is no AMQP URL", way_out)
            return None
        return value

    def database(self, name: str, default: str) -> dict[str, Any]:
        value = self.text(name, default)
        try:
            found: dict[str, Any] = environ.Env.db_url_config(value)
        except Exception:
            found = {}
        if found.get("ENGINE") not in _ENGINES or not found.get("NAME"):
            way_out = f"Write {' or '.join(_ENGINES.values())}."
            self._refuse("E004", name, _masked(value), "names no database that is known", way_out)
            return dict(environ.Env.db_url_config(default))
        return found

    def folder(self, name: str, default: Path) -> Path:
        """Made where it is missing."""
        path = Path(self.text(name, str(default))).absolute()
        try:
            (path / "static").mkdir(parents=True, exist_ok=True)
            probe = path / f".write-test-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            why = f"cannot be written ({error.strerror})"
            self._refuse("E003", name, str(path), why, "Name a folder that this user may write.")
        return path

    def hosts(self, name: str, default: list[str]) -> list[str]:
        found = self.words(name, default)
        for host in found:
            if "/" in host or host.removeprefix("[").split("]")[-1].count(":") == 1:
                way_out = "Write host names alone: heimdall.example.org,localhost"
                self._refuse("E006", name, host, "holds more than a host name", way_out)
        return found

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        """One of `known`; the first is the default."""
        value = self.text(name, known[0])
        if value not in known:
            self._refuse("E008", name, value, "is unknown", f"Write {' or '.join(known)}.")
            return known[0]
        return value

    def hardware(self, name: str) -> tuple[str, ...]:
        """What this machine has, of cpu and gpu."""
        found = self.words(name, ["cpu", "gpu"] if Path(_NVIDIA).exists() else ["cpu"])
        for one in found:
            if one not in ("cpu", "gpu"):
                self._refuse("E009", name, one, "is no hardware that is known", "Write cpu,gpu.")
        return tuple(one for one in ("cpu", "gpu") if one in found)

    def _refuse(self, number: str, name: str, value: str, why: str, hint: str) -> None:
        self.problems.append(Problem(f"heimdall.{number}", f"{name}={value!r} {why}.", hint))


def is_public(host: str) -> bool:
    """Whether certificates are made out for such a name: it has a dot and is no address."""
    with contextlib.suppress(ValueError):
        ip_address(host.strip("[]"))
        return False
    return "." in host.strip(".")


def _masked(url: str) -> str:
    """A password belongs in no message."""
    before, at, after = url.rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}{slashes}***{at}{after}" if at else url
