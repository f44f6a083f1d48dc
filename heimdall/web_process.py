"""The web process of `serve` and `demo`: the server and the embedded worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def startup_banner() -> str:
    database = connection.vendor.replace("postgresql", "PostgreSQL").replace("sqlite", "SQLite")
    if settings.EMBEDDED:
        return (
            f"Using {database} and an in-process broker (embedded). "
            "Set RABBITMQ_URL and DATABASE_URL to use several processes and machines."
        )
    broker = str(settings.RABBITMQ_URL).rsplit("@", 1)[-1]
    return f"Using {database} and RabbitMQ at {broker}; workers: `celery -A heimdall worker`."


def is_migrated() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def embedded_worker_if_needed() -> AbstractContextManager[None]:
    if not settings.EMBEDDED:
        return nullcontext()
    from heimdall.embedded import embedded_worker

    return embedded_worker()


def run_server(host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; call `ready` with the port once the server listens."""
    from heimdall.asgi import application
    from heimdall.daphne.server import DaphneServer

    with embedded_worker_if_needed():
        DaphneServer(application, host, port, ready).run()
