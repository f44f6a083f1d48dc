"""What jobs are found and ordered by.

An order has a key that no row lacks, so that a page can begin after any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import DateTimeField, F, FloatField, Func
from django.db.models.expressions import Combinable
from django.db.models.fields.json import KeyTransform

# Written into the SQL, not handed over: SQLite finds an index over an expression by its text.
GREATEST = 1e308
FARTHEST = datetime(9999, 12, 31, tzinfo=UTC)


class OrGreatest(Func):
    """The number, or one greater than any where there is none."""

    template = "COALESCE(%(expressions)s, 1e308)"
    output_field = FloatField()


class OrFarthest(Func):
    """The moment, or the end of time where it has not come."""

    template = "COALESCE(%(expressions)s, '9999-12-31 00:00:00')"
    output_field = DateTimeField()


class Parameter(KeyTransform):
    """`Parameter(name, "config")`: a hyper-parameter; again in words that an index is found by."""

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, Any]:
        if not self.key_name.isidentifier():
            raise ValueError(f"{self.key_name!r} is no name of a hyper-parameter")
        lhs, values, _ = self.preprocess_lhs(compiler, connection)
        return f"JSON_EXTRACT({lhs}, '$.{self.key_name}')", tuple(values)


@dataclass(frozen=True, slots=True)
class Key:
    """`expression` in the database; `of` a row, as JSON; `parse` back from there (ValueError)."""

    expression: Combinable
    of: Callable[[Any], Any]
    parse: Callable[[Any], Any]


def _moment(name: str, expression: Combinable) -> Key:
    return Key(
        expression,
        lambda row: (getattr(row, name) or FARTHEST).isoformat(),
        lambda told: datetime.fromisoformat(str(told)).astimezone(UTC),
    )


def _number(name: str) -> Key:
    def of(row: Any) -> float:
        value = getattr(row, name)
        return GREATEST if value is None else value

    return Key(OrGreatest(name), of, float)


def _text(told: Any) -> str:
    if not isinstance(told, str) or "\0" in told:
        raise ValueError("no text that a database holds")
    return told


JOBS = {
    "created_at": _moment("created_at", F("created_at")),
    "finished_at": _moment("finished_at", OrFarthest("finished_at")),
    "best_val_loss": _number("best_val_loss"),
    "best_val_rmse": _number("best_val_rmse"),
    "name": Key(F("name"), lambda row: row.name, _text),
}
