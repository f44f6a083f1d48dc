"""The whole web process of `serve` and `demo`: the server, and what runs beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def startup_banner() -> str:
    """One line: what this installation runs on, and what to set to go further."""
    database = connection.vendor.replace("postgresql", "PostgreSQL").replace("sqlite", "SQLite")
    if settings.EMBEDDED:
        return (
            f"Runs on {database} and an in-process broker (embedded). "
            "Set RABBITMQ_URL and DATABASE_URL to grow to many processes and machines."
        )
    broker = str(settings.RABBITMQ_URL).rsplit("@", 1)[-1]
    return f"Runs on {database} and RabbitMQ at {broker}; workers: `celery -A heimdall worker`."


def is_migrated() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def embedded_worker_if_needed() -> AbstractContextManager[None]:
    """In the embedded mode this process trains too; with a broker others do."""
    if not settings.EMBEDDED:
        return nullcontext()
    from heimdall.embedded import embedded_worker

    return embedded_worker()


def run_server(host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called with the port once it listens."""
    from heimdall.asgi import application
    from heimdall.daphne.server import DaphneServer

    with embedded_worker_if_needed():
        DaphneServer(application, host, port, ready).run()
