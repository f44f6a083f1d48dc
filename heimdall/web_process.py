"""The web process of `serve` and `demo`: the server and the embedded worker."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

MAX_PORT = 65_535


class NewerDatabaseError(Exception):
    """The database has tables that this version does not know; the message says what to do."""


class ListenError(Exception):
    """The server cannot listen on its address; the message says why."""


def parse_port(text: str) -> int:
    """The type of the option --port."""
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > MAX_PORT:
        raise ArgumentTypeError(f"{text!r} is not a port; use a number from 0 to {MAX_PORT}")
    return int(text)


def web_address(host: str, port: int) -> str:
    """The URL of the start page; an IPv6 address is in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.BASE_PATH}"


def startup_banner() -> str:
    database = connection.vendor.replace("postgresql", "PostgreSQL").replace("sqlite", "SQLite")
    if settings.EMBEDDED:
        return (
            f"Using {database} and an in-process broker (embedded). "
            "Set RABBITMQ_URL and DATABASE_URL to use several processes and machines."
        )
    broker = str(settings.RABBITMQ_URL).rsplit("@", 1)[-1].partition("?")[0]
    return f"Using {database} and RabbitMQ at {broker}; workers: `celery -A heimdall worker`."


def is_migrated() -> bool:
    """Raises NewerDatabaseError if the tables are those of a newer version."""
    executor = MigrationExecutor(connection)
    known = {name for app, name in executor.loader.graph.nodes if app == "training"}
    applied = {name for app, name in executor.loader.applied_migrations if app == "training"}
    # Migrations have numbers; one that an older version has replaced has a lower one.
    newer = sorted(name for name in applied - known if name > max(known))
    if newer:
        raise NewerDatabaseError(
            f"A newer version of Heimdall has migrated the database: this version has no migration "
            f"{newer[-1]}. Start the newer version, or restore a backup from before its upgrade."
        )
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def embedded_worker_if_needed() -> AbstractContextManager[None]:
    if not settings.EMBEDDED:
        return nullcontext()
    from heimdall.embedded import embedded_worker

    return embedded_worker()


def run_server(host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; call `ready` with the port once the server listens.

    Raises ListenError if it cannot listen.
    """
    from heimdall.asgi import application
    from heimdall.daphne.server import DaphneServer

    def listening(bound: int) -> None:
        if settings.EMBEDDED and not settings.WEB_URL and not settings.HTTPS:
            local = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104
            settings.WEB_URL = web_address(local, bound)
        ready(bound)

    with embedded_worker_if_needed():
        DaphneServer(application, host, port, listening).run()
