"""Sort keys of the job list. They are never null, so that a page can start after any row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import F
from django.db.models.expressions import Combinable

from training.api.query_params import MAX_INTEGER
from training.models.expressions import (
    FAR_FUTURE,
    INFINITY,
    NullsAsFarFuture,
    NullsAsInfinity,
    SecondsBetween,
)


@dataclass(frozen=True, slots=True)
class SortKey:
    """`value_of` gives a row's key as JSON; `parse` reads it back and may raise ValueError.

    A row of a page has its key as `sort_key`. Rows with equal keys are in the order of `then`, and
    finally of their IDs. A row without a value has the key `missing`, larger than any other.
    """

    expression: Combinable
    value_of: Callable[[Any], Any]
    parse: Callable[[Any], Any]
    then: SortKey | None = None
    missing: float | datetime | None = None


def _time_key(name: str, expression: Combinable) -> SortKey:
    return SortKey(
        expression,
        lambda row: (getattr(row, name) or FAR_FUTURE).isoformat(),
        lambda value: datetime.fromisoformat(str(value)).astimezone(UTC),
        missing=FAR_FUTURE,
    )


def _number_key(name: str) -> SortKey:
    def value_of(row: Any) -> float:
        value = getattr(row, name)
        return INFINITY if value is None else value

    return SortKey(NullsAsInfinity(name), value_of, float, missing=INFINITY)


def _parse_text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("not a string that the database can store")
    value.encode()  # UnicodeEncodeError, a ValueError, for half of a surrogate pair
    return value


def _parse_count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= MAX_INTEGER:
        raise ValueError("not a count that the database can store")
    return value


_CREATED = _time_key("created_at", F("created_at"))
JOB_SORT_KEYS = {
    "created_at": _CREATED,
    "finished_at": _time_key("finished_at", NullsAsFarFuture("finished_at")),
    "best_val_loss": _number_key("best_value"),
    "best_val_rmse": _number_key("headline_value"),
    "best_result": _number_key("headline_value"),
    "name": SortKey(F("name"), lambda row: row.name, _parse_text),
    "status": SortKey(F("status"), lambda row: row.status, _parse_text, _CREATED),
    "current_epoch": SortKey(F("current_epoch"), lambda row: row.current_epoch, _parse_count),
    # Computed by the database, so that a cursor holds exactly the number it compares with.
    "duration": SortKey(
        SecondsBetween("started_at", "finished_at"),
        lambda row: row.sort_key,
        float,
        missing=INFINITY,
    ),
}
