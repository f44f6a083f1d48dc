"""Sort keys of the job list. They are never null, so that a page can start after any row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import F
from django.db.models.expressions import Combinable

from training.models.expressions import FAR_FUTURE, INFINITY, NullsAsFarFuture, NullsAsInfinity


@dataclass(frozen=True, slots=True)
class SortKey:
    """`value_of` gives a row's key as JSON; `parse` reads it back and may raise ValueError."""

    expression: Combinable
    value_of: Callable[[Any], Any]
    parse: Callable[[Any], Any]


def _time_key(name: str, expression: Combinable) -> SortKey:
    return SortKey(
        expression,
        lambda row: (getattr(row, name) or FAR_FUTURE).isoformat(),
        lambda value: datetime.fromisoformat(str(value)).astimezone(UTC),
    )


def _number_key(name: str) -> SortKey:
    def value_of(row: Any) -> float:
        value = getattr(row, name)
        return INFINITY if value is None else value

    return SortKey(NullsAsInfinity(name), value_of, float)


def _parse_text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("not a string that the database can store")
    return value


JOB_SORT_KEYS = {
    "created_at": _time_key("created_at", F("created_at")),
    "finished_at": _time_key("finished_at", NullsAsFarFuture("finished_at")),
    "best_val_loss": _number_key("best_value"),
    "best_val_rmse": _number_key("headline_value"),
    "name": SortKey(F("name"), lambda row: row.name, _parse_text),
}
