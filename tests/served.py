"""Heimdall as it is run, for as long as a test wants it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tests.stack import Stack, own_database


@contextmanager
def served(folder: Path, amqp: str = "", workers: int = 0, **environment: str) -> Iterator[Stack]:
    """With its web process and so many workers; on PostgreSQL, unless it is embedded."""
    with own_database() if amqp else nullcontext("") as database:
        stack = Stack(folder, amqp, database, **environment)
        try:
            stack.start_web()
            for _ in range(workers):
                stack.start_worker()
            yield stack
        finally:
            stack.close()
