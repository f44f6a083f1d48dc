"""A running Heimdall installation as a context manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tests.stack import Stack, own_database


@contextmanager
def served(folder: Path, amqp: str = "", workers: int = 0, **environment: str) -> Iterator[Stack]:
    """Start the web process and workers; on PostgreSQL, or on SQLite in the embedded mode."""
    with own_database() if amqp else nullcontext("") as database:
        stack = Stack(folder, amqp, database, **environment)
        try:
            stack.start_web()
            for _ in range(workers):
                stack.start_worker()
            yield stack
        finally:
            stack.close()
