"""Limits of JSON columns, which are read and written whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from training.mlflow.errors import invalid

MAX_COLUMN_BYTES = 1_000_000  # as JSON
MAX_ITEMS = 2000


def require_room(name: str, column: Mapping[str, Any] | Sequence[Any]) -> None:
    """Raises MlflowError if the column, with what was added, exceeds a limit."""
    if len(column) > MAX_ITEMS:
        raise invalid(f"There are {len(column):,} {name}; the limit is {MAX_ITEMS:,}.")
    size = len(orjson.dumps(column))
    if size > MAX_COLUMN_BYTES:
        raise invalid(
            f"The {name} have {size:,} bytes together; the limit is {MAX_COLUMN_BYTES:,} bytes."
        )
