"""Outages of one PostgreSQL database; the server and its other databases keep running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.stack import Stack

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


def database_name(stack: Stack) -> str:
    return stack.environment["DATABASE_URL"].rsplit("/", 1)[-1]


def cut_connections(server: psycopg.Connection[Any], name: str) -> None:
    server.execute(CUT, [name])


@contextmanager
def refused(server: psycopg.Connection[Any], name: str) -> Iterator[None]:
    """Cut the connections to the database, and refuse new ones."""
    server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
    cut_connections(server, name)
    try:
        yield
    finally:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
