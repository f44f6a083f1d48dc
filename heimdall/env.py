"""The environment variables that configure Heimdall, validated as one pydantic model.

A wrong value must not keep the settings from loading: it becomes a `Problem`, which
`heimdall.checks` reports, and the variable falls back to its default.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from heimdall.database import ESCAPES, URL_FORMS, DatabaseUrlError, parse_database_url
from heimdall.database import Settings as DatabaseSettings
from heimdall.email_url import HINT as EMAIL_URL_HINT
from heimdall.email_url import EmailSettings, parse_email_url
from realtime.amqp_url import AmqpUrl, AmqpUrlError, parse_amqp_url

BASE_DIR = Path(__file__).resolve().parent.parent
DEFAULT_DATA_DIR = BASE_DIR / "data"
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_HARDWARE = ("cpu", "gpu")
_MAX_INTEGER = 2**31 - 1
MAX_DAYS = 36_500
_BASE_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_NVIDIA_DRIVER = Path("/dev/nvidiactl")


@dataclass(frozen=True, slots=True)
class Problem:
    """A variable with an invalid value: id of the system check, message and fix."""

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
        if value.isascii() and value.isdigit() and len(value) <= len(str(_MAX_INTEGER)):
            number = int(value)
            if minimum <= number <= _MAX_INTEGER:
                return number
        reason = f"is not an integer from {minimum} to {_MAX_INTEGER}"
        raise InvalidVariableError("E005", value, reason, "Correct it, or unset it.")

    return parse


def _parse_days(value: str) -> int:
    days = _at_least(0)(value)
    if days > MAX_DAYS:
        reason = f"is more than {MAX_DAYS} days"
        raise InvalidVariableError("E005", value, reason, "Set it to 0 to disable deletion.")
    return days


def _split(value: str) -> list[str]:
    return [word for word in map(str.strip, value.split(",")) if word]


def _parse_amqp_url(value: str) -> AmqpUrl:
    try:
        return parse_amqp_url(value)
    except AmqpUrlError as error:
        hint = f"Use amqp://USER:PASSWORD@HOST:5672/%2F, or unset it to run embedded. {ESCAPES}."
        raise InvalidVariableError("E002", _masked(value), str(error), hint) from error


def _parse_database_url(value: str) -> DatabaseSettings:
    try:
        return parse_database_url(value)
    except DatabaseUrlError as error:
        hint = f"Use {URL_FORMS}. {ESCAPES}."
        raise InvalidVariableError("E004", _masked(value), str(error), hint) from error


def _parse_memory(value: str) -> str:
    """A percentage as it is, and a size in bytes."""
    units = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    match = re.fullmatch(r"([1-9][0-9]{0,14})\s*(?:(%)|([KMGT]?)B?)", value.strip().upper())
    if match and (match[2] is None or int(match[1]) <= 100):
        return f"{match[1]}%" if match[2] else str(int(match[1]) * units[match[3]])
    reason, hint = "is neither a size nor a percentage", "Use a value like 8G, 500M or 80%."
    raise InvalidVariableError("E013", value, reason, hint)


def _parse_size(value: str) -> int:
    parsed = _parse_memory(value) if "%" not in value else ""
    if not parsed:
        reason, hint = "is not a size", "Use a value like 100G or 500M."
        raise InvalidVariableError("E013", value, reason, hint)
    return int(parsed)


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


def is_protected(parts: SplitResult) -> bool:
    """Whether requests to the URL are encrypted, or stay on this machine."""
    is_local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    return parts.scheme == "https" or (parts.scheme == "http" and is_local)


def _parse_issuer(value: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urlsplit(value)
        if is_protected(parts) and parts.hostname and parts.port != 0 and not parts.query:
            return value.rstrip("/")
    hint = "Use the provider's https:// URL, below which .well-known/openid-configuration is."
    raise InvalidVariableError("E022", _masked(value), "is not the URL of a provider", hint)


def _parse_web_url(value: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urlsplit(value)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return value.rstrip("/")
    hint = "Use a URL such as http://127.0.0.1:8001."
    raise InvalidVariableError("E024", _masked(value), "is not a URL", hint)


def _parse_map_tiles(value: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urlsplit(value)
        is_url = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        is_safe = not set(parts.netloc) & set("{}@;, ") and not set(value) & set("\"'<> ")
        if is_url and is_safe and all(name in parts.path for name in ("{z}", "{x}", "{y}")):
            return value
    hint = "Use a URL such as https://tiles.example.org/{z}/{x}/{y}.png."
    raise InvalidVariableError("E025", _masked(value), "is not a template of map tiles", hint)


def _parse_origins(value: str) -> list[str]:
    origins = _split(value)
    for origin in origins:
        parts = urlsplit(origin.replace("[", "").replace("]", ""))
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or parts.query:
            hint = "Use scheme, host and port: https://*.example.org,http://localhost:3000"
            raise InvalidVariableError("E021", origin, "is not an origin", hint)
    return origins


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


def _parse_folder(value: str) -> Path:
    path = Path(value).absolute()
    if not path.is_dir():
        hint = "Create it, or unset the variable."
        raise InvalidVariableError("E010", value, "is not a folder", hint)
    return path


def _parse_email_url(value: str) -> EmailSettings:
    try:
        return parse_email_url(value)
    except ValueError as error:
        raise InvalidVariableError("E020", _masked(value), str(error), EMAIL_URL_HINT) from error


def _parse_base_path(value: str) -> str:
    path = value.rstrip("/")
    if path and not _BASE_PATH.fullmatch(path):
        hint = "Use a path such as /heimdall: letters, digits and -_.~ between slashes."
        raise InvalidVariableError("E012", value, "is not the path of a URL", hint)
    return path


def _detect_hardware() -> tuple[str, ...]:
    return _HARDWARE if _NVIDIA_DRIVER.exists() else ("cpu",)


Bool = Annotated[bool, BeforeValidator(_parse_bool)]
PositiveInt = Annotated[int, BeforeValidator(_at_least(1))]
Days = Annotated[int, BeforeValidator(_parse_days)]
NonNegativeInt = Annotated[int, BeforeValidator(_at_least(0))]
BrokerUrl = Annotated[AmqpUrl, BeforeValidator(_parse_amqp_url)]
DatabaseUrl = Annotated[DatabaseSettings, BeforeValidator(_parse_database_url)]
Hosts = Annotated[list[str], BeforeValidator(_parse_hosts)]
Origins = Annotated[list[str], BeforeValidator(_parse_origins)]
Size = Annotated[int, BeforeValidator(_parse_size)]
Memory = Annotated[str, BeforeValidator(_parse_memory)]
Issuer = Annotated[str, BeforeValidator(_parse_issuer)]
LogLevel = Annotated[str, BeforeValidator(_one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))]
EmailUrl = Annotated[EmailSettings, BeforeValidator(_parse_email_url)]
LogFormat = Annotated[str, BeforeValidator(_one_of("text", "json"))]
WebUrl = Annotated[str, BeforeValidator(_parse_web_url)]
MapTiles = Annotated[str, BeforeValidator(_parse_map_tiles)]
BasePath = Annotated[str, BeforeValidator(_parse_base_path)]
ExistingFolder = Annotated[Path, BeforeValidator(_parse_folder)]
Hardware = Annotated[tuple[str, ...], BeforeValidator(_parse_hardware)]


class Environment(BaseModel):
    """Every variable. The default None means that `heimdall.settings` derives the value."""

    model_config = ConfigDict(frozen=True)

    rabbitmq_url: BrokerUrl | None = Field(
        None, validation_alias="RABBITMQ_URL", description="URL of RabbitMQ. Unset: embedded mode."
    )
    database_url: DatabaseUrl | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="URL of the database. Unset: SQLite in the data directory.",
    )
    pgbouncer: Bool = Field(
        False,
        validation_alias="HEIMDALL_PGBOUNCER",
        description="DATABASE_URL is that of PgBouncer: no session state is used.",
    )
    data_dir: Path = Field(
        DEFAULT_DATA_DIR,
        validation_alias="HEIMDALL_DATA_DIR",
        description="Directory of datasets, checkpoints, static files and the secret key.",
    )
    programs_dir: ExistingFolder | None = Field(
        None,
        validation_alias="HEIMDALL_PROGRAMS_DIR",
        description="Folder of the operator's programs, each NAME/program.toml. Unset: none.",
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
    trusted_origins: Origins = Field(
        [],
        validation_alias="DJANGO_CSRF_TRUSTED_ORIGINS",
        description="Further origins whose pages may send forms and open WebSockets.",
    )
    base_path: BasePath = Field(
        "",
        validation_alias="HEIMDALL_BASE_PATH",
        description="Path below which everything is served, such as /heimdall. Unset: the root.",
    )
    map_tiles: MapTiles = Field(
        "",
        validation_alias="HEIMDALL_MAP_TILES",
        description="Map tiles that browsers load, as https://HOST/{z}/{x}/{y}.png. "
        "Unset: coasts and borders.",
    )
    map_attribution: str = Field(
        "",
        validation_alias="HEIMDALL_MAP_ATTRIBUTION",
        description="Source of the map tiles, shown on each map.",
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
    report_silence_seconds: PositiveInt = Field(
        120,
        validation_alias="HEIMDALL_REPORT_SILENCE_SECONDS",
        description="A reported job without a report for this long is failed.",
    )
    web_url: WebUrl = Field(
        "",
        validation_alias="HEIMDALL_WEB_URL",
        description="Where programs of this worker reach the web server, to log into their job.",
    )
    mlflow_silence_seconds: PositiveInt = Field(
        24 * 3600,
        validation_alias="HEIMDALL_MLFLOW_SILENCE_SECONDS",
        description="The same for a job that an MLflow client reports, which sends no heartbeats.",
    )
    trackio_silence_seconds: PositiveInt = Field(
        900,
        validation_alias="HEIMDALL_TRACKIO_SILENCE_SECONDS",
        description="A run of a Trackio client without a report for this long has completed.",
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
    trainer_memory: Memory = Field(
        "80%",
        validation_alias="HEIMDALL_TRAINER_MEMORY",
        description="Memory that one job may use, as a size or a percentage of the worker's.",
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
    token_max_days: PositiveInt = Field(
        3650,
        validation_alias="HEIMDALL_TOKEN_MAX_DAYS",
        description="Longest lifetime of an API token, in days.",
    )
    email: EmailUrl | None = Field(
        None, validation_alias="EMAIL_URL", description="Mail server. Unset: no e-mail is sent."
    )
    oidc_issuer: Issuer | None = Field(
        None,
        validation_alias="HEIMDALL_OIDC_ISSUER",
        description="URL of an OpenID Connect provider to sign in through. Unset: passwords only.",
    )
    oidc_client_id: str = Field(
        "",
        validation_alias="HEIMDALL_OIDC_CLIENT_ID",
        description="Client ID of Heimdall at the provider.",
    )
    oidc_client_secret: str = Field(
        "",
        validation_alias="HEIMDALL_OIDC_CLIENT_SECRET",
        description="Client secret of Heimdall at the provider.",
    )
    oidc_name: str = Field(
        "single sign-on",
        validation_alias="HEIMDALL_OIDC_NAME",
        description="The provider's name, on the sign-in page.",
    )
    oidc_creates_users: Bool = Field(
        True,
        validation_alias="HEIMDALL_OIDC_CREATES_USERS",
        description="Whether a first sign-in there creates an account here.",
    )
    sockets_per_user: PositiveInt = Field(
        2000,
        validation_alias="HEIMDALL_SOCKETS_PER_USER",
        description="Open WebSockets and event streams per user in one web process.",
    )
    queued_jobs_per_user: NonNegativeInt = Field(
        1000,
        validation_alias="HEIMDALL_QUEUED_JOBS_PER_USER",
        description="Queued jobs of one user.",
    )
    running_jobs_per_user: NonNegativeInt = Field(
        100,
        validation_alias="HEIMDALL_RUNNING_JOBS_PER_USER",
        description="Jobs of one user that workers run at a time; further ones stay queued.",
    )
    reported_jobs_per_user: NonNegativeInt = Field(
        500,
        validation_alias="HEIMDALL_REPORTED_JOBS_PER_USER",
        description="Running jobs of one user that report from elsewhere.",
    )
    running_sweeps_per_user: NonNegativeInt = Field(
        20,
        validation_alias="HEIMDALL_RUNNING_SWEEPS_PER_USER",
        description="Running sweeps of one user.",
    )
    projects_per_user: NonNegativeInt = Field(
        10_000, validation_alias="HEIMDALL_PROJECTS_PER_USER", description="Projects of one user."
    )
    imports_per_user: NonNegativeInt = Field(
        1,
        validation_alias="HEIMDALL_IMPORTS_PER_USER",
        description="Imports of one user at once.",
    )
    downloads_per_user: NonNegativeInt = Field(
        8,
        validation_alias="HEIMDALL_DOWNLOADS_PER_USER",
        description="Downloads of one user at once in one web process.",
    )
    uploads_per_user: NonNegativeInt = Field(
        8,
        validation_alias="HEIMDALL_UPLOADS_PER_USER",
        description="Request bodies over 2 MB of one user at once in one web process.",
    )
    predictions_per_user: NonNegativeInt = Field(
        4,
        validation_alias="HEIMDALL_PREDICTIONS_PER_USER",
        description="Predictions of one user at once in one web process.",
    )
    stored_bytes_per_user: Size = Field(
        100 * 10**9,
        validation_alias="HEIMDALL_STORED_BYTES_PER_USER",
        description="Size of all files of one user's jobs and datasets.",
    )
    webhooks_per_user: NonNegativeInt = Field(
        50, validation_alias="HEIMDALL_WEBHOOKS_PER_USER", description="Webhooks of one user."
    )
    pending_deliveries_per_user: NonNegativeInt = Field(
        2000,
        validation_alias="HEIMDALL_PENDING_DELIVERIES_PER_USER",
        description="Webhook deliveries of one user that are not sent yet.",
    )
    requests_at_once: PositiveInt = Field(
        48,
        validation_alias="HEIMDALL_REQUESTS_AT_ONCE",
        description="Requests that a web process computes at a time; others wait.",
    )
    webhook_allow_private: Bool = Field(
        False,
        validation_alias="HEIMDALL_WEBHOOK_ALLOW_PRIVATE",
        description="Allow webhooks to private addresses and without TLS.",
    )
    pack_events_days: Days = Field(
        7,
        validation_alias="HEIMDALL_PACK_EVENTS_DAYS",
        description="Days after a job ended until its epoch events are compressed.",
    )
    keep_events_days: Days = Field(
        365,
        validation_alias="HEIMDALL_KEEP_EVENTS_DAYS",
        description="Days after a job ended until its epoch events are deleted.",
    )
    keep_epochs_days: Days = Field(
        730,
        validation_alias="HEIMDALL_KEEP_EPOCHS_DAYS",
        description="Days after a job ended until its epochs are deleted, except best and last.",
    )
    keep_points_days: Days = Field(
        730,
        validation_alias="HEIMDALL_KEEP_POINTS_DAYS",
        description="Days after a job ended until its points are deleted.",
    )
    keep_system_days: Days = Field(
        90,
        validation_alias="HEIMDALL_KEEP_SYSTEM_DAYS",
        description="Days after a job ended until its resource metrics are deleted.",
    )
    keep_logs_days: Days = Field(
        180,
        validation_alias="HEIMDALL_KEEP_LOGS_DAYS",
        description="Days after a job ended until its output is deleted.",
    )
    keep_checkpoints_days: Days = Field(
        7,
        validation_alias="HEIMDALL_KEEP_CHECKPOINTS_DAYS",
        description="Days until a completed or cancelled job keeps only its best and newest "
        "checkpoint.",
    )
    keep_artifacts_days: Days = Field(
        0,
        validation_alias="HEIMDALL_KEEP_ARTIFACTS_DAYS",
        description="Days after a job ended until the files that its run saved are deleted.",
    )
    keep_tokens_days: Days = Field(
        30,
        validation_alias="HEIMDALL_KEEP_TOKENS_DAYS",
        description="Days after an API token expired until its row is deleted.",
    )
    keep_audit_days: Days = Field(
        365,
        validation_alias="HEIMDALL_KEEP_AUDIT_DAYS",
        description="Days until entries of the audit log and of the admin's log are deleted.",
    )
    keep_deliveries_days: Days = Field(
        30,
        validation_alias="HEIMDALL_KEEP_DELIVERIES_DAYS",
        description="Days until delivered and dead webhook deliveries are deleted.",
    )
    log_level: LogLevel = Field(
        "WARNING", validation_alias="HEIMDALL_LOG_LEVEL", description="Level of the root logger."
    )
    log_format: LogFormat = Field(
        "text",
        validation_alias="HEIMDALL_LOG_FORMAT",
        description="text, or json for one object per line.",
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
        name: next(variable for variable in all_names if variable in given)
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


def restrict_new_files() -> None:
    """Make files of this process readable by its user only: data, sessions, keys."""
    os.umask(os.umask(0o077) | 0o077)


def is_readable_by_others(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(path.stat().st_mode & 0o077)
    return False


def check_data_dir(path: Path) -> Problem | None:
    try:
        (path / "static").mkdir(parents=True, exist_ok=True)
        if path == DEFAULT_DATA_DIR and is_readable_by_others(path):
            path.chmod(0o700)  # made by an earlier version
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
