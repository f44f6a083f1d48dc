"""The database of the settings: from DATABASE_URL, or SQLite in the data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import dj_database_url
from django.db import DatabaseError

SQLITE, POSTGRESQL = "django.db.backends.sqlite3", "django.db.backends.postgresql"
URL_FORMS = "postgres://USER:PASSWORD@HOST:PORT/NAME or sqlite:///FILE"
ESCAPES = "In user, password and name write / as %2F, @ as %40, : as %3A, # as %23 and ? as %3F"
MAX_TIMEOUT_SECONDS = 3600
# Give up an unresponsive server or network after ten seconds instead of hours.
POSTGRESQL_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# Of Django's backend, not of libpq.
_DJANGO_OPTIONS = frozenset({"pool", "isolation_level", "assume_role", "server_side_binding"})

Settings = dict[str, Any]


class DatabaseUrlError(ValueError):
    """The URL cannot be used; the message continues a sentence that begins with it."""


def parse_database_url(url: str) -> Settings:
    """Engine, names and options of the URL; raises DatabaseUrlError with the reason."""
    if url.startswith("sqlite:"):
        return _parse_sqlite_url(url)
    try:
        found: Settings = dict(dj_database_url.parse(url, conn_max_age=0))
    except ValueError:
        found = {}
    if found.get("ENGINE") != POSTGRESQL or not found.get("NAME"):
        raise DatabaseUrlError("is not the URL of a PostgreSQL or SQLite database")
    if urlsplit(url).fragment:
        raise DatabaseUrlError("has an unescaped #, after which everything is ignored")
    _check_postgresql_options(found.get("OPTIONS", {}))
    return found


def _parse_sqlite_url(url: str) -> Settings:
    if not url.startswith("sqlite:///"):
        raise DatabaseUrlError(
            "has no file; there are three slashes before it, and four before an absolute path"
        )
    # Not a general URL parser: a # belongs to the path.
    text, _, query = url.removeprefix("sqlite:///").partition("?")
    path = Path(unquote(text)).absolute()
    if not text or text == ":memory:":
        raise DatabaseUrlError("has no file, and a database in memory is lost immediately")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := options.keys() - {"timeout"}:
        raise DatabaseUrlError(
            f"has the unknown option {min(unknown)!r}; the only option is timeout. "
            "Write a ? of the path as %3F"
        )
    if path.is_dir() or not path.parent.is_dir():
        what = path if path.is_dir() else path.parent
        problem = "is a folder" if path.is_dir() else "is not a folder"
        raise DatabaseUrlError(f"names the file {str(path)!r}, but {str(what)!r} {problem}")
    found: Settings = {"ENGINE": SQLITE, "NAME": str(path)}
    if "timeout" in options:
        timeout = options["timeout"]
        if not timeout.isascii() or not timeout.isdigit() or len(timeout) > 4:
            raise DatabaseUrlError(
                f"has the option timeout={timeout!r}, which is not a number of seconds"
            )
        found["OPTIONS"] = {"timeout": min(int(timeout), MAX_TIMEOUT_SECONDS)}
    return found


def _check_postgresql_options(options: Settings) -> None:
    import psycopg
    from psycopg.conninfo import make_conninfo

    libpq = {name: value for name, value in options.items() if name not in _DJANGO_OPTIONS}
    try:
        make_conninfo("", **libpq)
    except psycopg.ProgrammingError as error:
        raise DatabaseUrlError(f"has an {str(error).splitlines()[0]}") from error


def database_settings(
    given: Settings | None, data_dir: Path, *, pgbouncer: bool, lease_seconds: int
) -> Settings:
    """What the URL says, completed; its own options take precedence."""
    database = dict(given or {"ENGINE": SQLITE, "NAME": str(data_dir / "heimdall.sqlite3")})
    options: Settings = dict(database.get("OPTIONS", {}))
    # Under ASGI each request runs in its own thread, so persistent connections are never reused.
    # They would accumulate up to PostgreSQL's limit, and new connections would fail.
    database["CONN_MAX_AGE"] = 0
    if database["ENGINE"] == SQLITE:
        # A deferred transaction fails with "database is locked" when it begins to write while
        # another one writes; an immediate one waits. With WAL, readers are not blocked.
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            **options,
        }
        return database
    database["OPTIONS"] = {**POSTGRESQL_DEFAULTS, **options}
    if pgbouncer:
        # Between transactions another client may get the connection: no cursor lives that long,
        # and PgBouncer refuses the startup parameter `options`.
        database["DISABLE_SERVER_SIDE_CURSORS"] = True
        return database
    # A worker that freezes or loses the network during a write keeps the job's row locked, so
    # that no other worker could take over: PostgreSQL ends the transaction within a lease.
    timeout = f"-c idle_in_transaction_session_timeout={lease_seconds * 1000}"
    database["OPTIONS"]["options"] = f"{timeout} {options.get('options', '')}".strip()
    return database


def describe_failure(error: DatabaseError, database: Settings) -> str:
    """One sentence for an error at start; empty if it is of another kind."""
    text = " ".join(str(error).split())
    if database["ENGINE"] == SQLITE:
        path = database["NAME"]
        if "not a database" in text or "malformed" in text:
            return (
                f"The database {path} is damaged, or not a SQLite database ({text}). Restore it "
                "from a backup, or move it away to begin with an empty one."
            )
        if "unable to open" in text or "readonly" in text or "disk" in text:
            return f"The database {path} cannot be used: {text}."
        return ""
    where = f"{database['HOST'] or 'localhost'}:{database['PORT'] or 5432}"
    connecting = ("connection", "password", "does not exist", "could not translate", "timeout")
    if any(word in text for word in connecting) and "relation" not in text:
        return (
            f"The database {database['NAME']!r} at {where} cannot be reached: {text}. "
            "Start it, or correct DATABASE_URL."
        )
    return ""


def check_database() -> str:
    """One sentence if the database cannot be used, else empty."""
    from django.db import connection

    try:
        with connection.cursor() as cursor:
            # Reads the file; opening it does not.
            sqlite = connection.vendor == "sqlite"
            cursor.execute("PRAGMA schema_version" if sqlite else "SELECT 1")
    except DatabaseError as error:
        return (
            describe_failure(error, connection.settings_dict)
            or f"The database cannot be used: {error}."
        )
    finally:
        connection.close()
    return ""
