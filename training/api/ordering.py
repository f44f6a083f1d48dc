"""The orders in which jobs are listed.

A sort key is never null, so that a page can start after any row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import F
from django.db.models.expressions import Combinable

from training.models.expressions import FAR_FUTURE, INFINITY, NullsAsFarFuture, NullsAsInfinity


@dataclass(frozen=True, slots=True)
class Key:
    """A sort key: in SQL, of a row as JSON, and parsed back from JSON (ValueError)."""

    expression: Combinable
    of: Callable[[Any], Any]
    parse: Callable[[Any], Any]


def _moment(name: str, expression: Combinable) -> Key:
    return Key(
        expression,
        lambda row: (getattr(row, name) or FAR_FUTURE).isoformat(),
        lambda value: datetime.fromisoformat(str(value)).astimezone(UTC),
    )


def _number(name: str) -> Key:
    def of(row: Any) -> float:
        value = getattr(row, name)
        return INFINITY if value is None else value

    return Key(NullsAsInfinity(name), of, float)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("not a text that a database can store")
    return value


JOBS = {
    "created_at": _moment("created_at", F("created_at")),
    "finished_at": _moment("finished_at", NullsAsFarFuture("finished_at")),
    "best_val_loss": _number("best_value"),
    "best_val_rmse": _number("headline_value"),
    "name": Key(F("name"), lambda row: row.name, _text),
}
