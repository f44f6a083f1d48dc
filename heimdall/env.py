"""The environment variables that configure Heimdall, validated as one pydantic model.

A wrong value must not keep the settings from loading: it becomes a `Problem`, which
`heimdall.checks` reports, and the variable falls back to its default.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import dj_database_url
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

BASE_DIR = Path(__file__).resolve().parent.parent
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_DATABASES = {
    "django.db.backends.sqlite3": "sqlite:///FILE",
    "django.db.backends.postgresql": "postgres://USER:PASSWORD@HOST:PORT/NAME",
}
_HARDWARE = ("cpu", "gpu")
_NVIDIA_DRIVER = Path("/dev/nvidiactl")


@dataclass(frozen=True, slots=True)
class Problem:
    """A variable with an invalid value: id of the system check, message and way out."""

    id: str
    message: str
    hint: str


class InvalidVariableError(ValueError):
    """Raised by the parsers below. `value` is safe to print."""

    def __init__(self, check: str, value: str, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.check, self.value, self.reason, self.hint = check, value, reason, hint


def _parse_bool(value: str) -> bool:
    if value.lower() not in _TRUE | _FALSE:
        raise InvalidVariableError("E001", value, "is neither true nor false", "Set it to 1 or 0.")
    return value.lower() in _TRUE


def _at_least(minimum: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if value.isascii() and value.isdigit() and int(value) >= minimum:
            return int(value)
        reason = f"is not an integer of at least {minimum}"
        raise InvalidVariableError("E005", value, reason, "Correct it, or unset it.")

    return parse


def _split(value: str) -> list[str]:
    return [word for word in map(str.strip, value.split(",")) if word]


def _parse_amqp_url(value: str) -> str:
    parts = urlsplit(value)
    with contextlib.suppress(ValueError):
        if parts.scheme in {"amqp", "amqps", "pyamqp"} and parts.hostname and parts.port != 0:
            return value
    hint = "Use amqp://USER:PASSWORD@HOST:5672/%2F, or unset it to run embedded."
    raise InvalidVariableError("E002", _masked(value), "is not an AMQP URL", hint)


def _parse_database_url(value: str) -> str:
    try:
        config: Mapping[str, Any] = dj_database_url.parse(value)
    except ValueError:
        config = {}
    if config.get("ENGINE") not in _DATABASES or not config.get("NAME"):
        reason = "is not the URL of a PostgreSQL or SQLite database"
        hint = f"Use {' or '.join(_DATABASES.values())}."
        raise InvalidVariableError("E004", _masked(value), reason, hint)
    return value


def _parse_hosts(value: str) -> list[str]:
    hosts = _split(value)
    wrong = [
        host
        for host in hosts
        if "/" in host or host.removeprefix("[").split("]")[-1].count(":") == 1
    ]
    if wrong:
        hint = "Use host names without scheme, port and path: heimdall.example.org,localhost"
        raise InvalidVariableError("E006", ",".join(wrong), "is not a host name", hint)
    return hosts


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value in choices:
            return value
        hint = f"Use {', '.join(choices[:-1])} or {choices[-1]}."
        raise InvalidVariableError("E008", value, "is not a known value", hint)

    return parse


def _parse_hardware(value: str) -> tuple[str, ...]:
    words = _split(value)
    if wrong := [word for word in words if word not in _HARDWARE]:
        raise InvalidVariableError(
            "E009", ",".join(wrong), "is not a known kind of hardware", "Use cpu, gpu or cpu,gpu."
        )
    return tuple(word for word in _HARDWARE if word in words)


def _detect_hardware() -> tuple[str, ...]:
    return _HARDWARE if _NVIDIA_DRIVER.exists() else ("cpu",)


Bool = Annotated[bool, BeforeValidator(_parse_bool)]
PositiveInt = Annotated[int, BeforeValidator(_at_least(1))]
NonNegativeInt = Annotated[int, BeforeValidator(_at_least(0))]
AmqpUrl = Annotated[str, BeforeValidator(_parse_amqp_url)]
DatabaseUrl = Annotated[str, BeforeValidator(_parse_database_url)]
Hosts = Annotated[list[str], BeforeValidator(_parse_hosts)]
LogLevel = Annotated[str, BeforeValidator(_one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))]
LogFormat = Annotated[str, BeforeValidator(_one_of("text", "json"))]
Hardware = Annotated[tuple[str, ...], BeforeValidator(_parse_hardware)]


class Environment(BaseModel):
    """Every variable. The default None means that `heimdall.settings` derives the value."""

    model_config = ConfigDict(frozen=True)

    rabbitmq_url: AmqpUrl | None = Field(
        None, validation_alias="RABBITMQ_URL", description="URL of RabbitMQ. Unset: embedded mode."
    )
    database_url: DatabaseUrl | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="URL of the database. Unset: SQLite in the data directory.",
    )
    data_dir: Path = Field(
        BASE_DIR / "data",
        validation_alias="HEIMDALL_DATA_DIR",
        description="Directory of datasets, checkpoints, static files and the secret key.",
    )
    secret_key: str | None = Field(
        None,
        validation_alias="DJANGO_SECRET_KEY",
        description="Signs sessions. Unset: created once and stored in the data directory.",
    )
    debug: Bool = Field(False, validation_alias="DJANGO_DEBUG", description="Django's debug pages.")
    allowed_hosts: Hosts = Field(
        ["localhost", "127.0.0.1", "[::1]"],
        validation_alias="DJANGO_ALLOWED_HOSTS",
        description="Host names under which the site is served, separated by commas.",
    )
    https: Bool | None = Field(
        None,
        validation_alias="HEIMDALL_HTTPS",
        description="HSTS and secure cookies, behind a TLS proxy. Unset: on for public hosts.",
    )
    hsts_seconds: PositiveInt = Field(
        365 * 24 * 3600,
        validation_alias="HEIMDALL_HSTS_SECONDS",
        description="How long browsers insist on HTTPS.",
    )
    proxies: NonNegativeInt | None = Field(
        None,
        validation_alias="HEIMDALL_PROXIES",
        description="Number of trusted reverse proxies. Unset: 1 with HTTPS, else 0.",
    )
    lease_seconds: PositiveInt = Field(
        12,
        validation_alias="HEIMDALL_LEASE_SECONDS",
        description="A worker without a heartbeat for this long counts as lost.",
    )
    maintenance_seconds: PositiveInt = Field(
        2,
        # The second name is that of earlier versions.
        validation_alias=AliasChoices("HEIMDALL_MAINTENANCE_SECONDS", "HEIMDALL_KEEPER_SECONDS"),
        description="Interval of the search for lost jobs and unsent events.",
    )
    jobs_at_once: PositiveInt = Field(
        2,
        validation_alias="HEIMDALL_JOBS_AT_ONCE",
        description="Number of jobs that one worker runs at a time; they share its cores.",
    )
    worker_has: Hardware = Field(
        default_factory=_detect_hardware,
        validation_alias="HEIMDALL_WORKER_HAS",
        description="Hardware that this worker offers: cpu, gpu or both.",
    )
    requests_per_minute: PositiveInt = Field(
        6000,
        validation_alias="HEIMDALL_REQUESTS_PER_MINUTE",
        description="API rate limit per user.",
    )
    sign_ins_per_minute: PositiveInt = Field(
        30,
        validation_alias="HEIMDALL_SIGN_INS_PER_MINUTE",
        description="Rate limit of sign-in attempts per IP address.",
    )
    sockets_per_user: PositiveInt = Field(
        2000,
        validation_alias="HEIMDALL_SOCKETS_PER_USER",
        description="Open WebSockets and event streams per user in one web process.",
    )
    webhook_allow_private: Bool = Field(
        False,
        validation_alias="HEIMDALL_WEBHOOK_ALLOW_PRIVATE",
        description="Allow webhooks to private addresses and without TLS.",
    )
    log_level: LogLevel = Field(
        "WARNING", validation_alias="HEIMDALL_LOG_LEVEL", description="Level of the root logger."
    )
    log_format: LogFormat = Field(
        "text",
        validation_alias="HEIMDALL_LOG_FORMAT",
        description="text, or json for one object a line.",
    )


def variable_names(field: str) -> list[str]:
    """The names under which a field is read; the first is the current one."""
    alias = Environment.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias)]


def read_environment(
    variables: Mapping[str, str] = os.environ,
) -> tuple[Environment, tuple[Problem, ...]]:
    """Parse the variables; empty ones count as unset, invalid ones get their default."""
    given = {name: value for name, value in variables.items() if value.strip()}
    try:
        return Environment.model_validate(given), ()
    except ValidationError as error:
        errors = error.errors(include_url=False)
    names = {
        name: next(one for one in all_names if one in given)
        for all_names in map(variable_names, Environment.model_fields)
        for name in all_names
        if given.keys() & set(all_names)
    }
    problems = []
    for item in errors:
        name, invalid = names[str(item["loc"][0])], item["ctx"]["error"]
        problems.append(_problem(name, invalid))
        del given[name]
    environment, further = read_environment(given)
    return environment, (*problems, *further)


def check_data_dir(path: Path) -> Problem | None:
    """Create the data directory with its subdirectory for static files; see if it is writable."""
    try:
        (path / "static").mkdir(parents=True, exist_ok=True)
        probe = path / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = f"is not writable ({error.strerror})"
        hint = "Set it to a directory that this user can write."
        return _problem("HEIMDALL_DATA_DIR", InvalidVariableError("E003", str(path), reason, hint))
    return None


def _problem(name: str, invalid: InvalidVariableError) -> Problem:
    message = f"{name}={invalid.value!r} {invalid.reason}."
    return Problem(f"heimdall.{invalid.check}", message, invalid.hint)


def is_public(host: str) -> bool:
    """Whether a certificate can be issued for the host: it has a dot and is not an IP address."""
    with contextlib.suppress(ValueError):
        ip_address(host.strip("[]"))
        return False
    return "." in host.strip(".")


def _masked(url: str) -> str:
    before, at, after = url.rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return f"{scheme}{slashes}***{at}{after}" if at else url
