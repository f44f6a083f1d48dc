"""Database expressions that jobs are filtered and ordered by; each matches an index."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import DateTimeField, F, FloatField, Func, Q
from django.db.models.fields.json import KeyTransform

# Literals in the SQL, not bound parameters: SQLite matches an expression index by its text.
INFINITY = 1e308
FAR_FUTURE = datetime(9999, 12, 31, tzinfo=UTC)

# Jobs with events that the broker has not confirmed.
UNSENT = Q(seq__gt=F("sent_seq"))


class NullsAsInfinity(Func):
    """The number; null counts as larger than any number."""

    template = "COALESCE(%(expressions)s, 1e308)"
    output_field = FloatField()


class NullsAsFarFuture(Func):
    """The moment; null counts as later than any moment."""

    template = "COALESCE(%(expressions)s, '9999-12-31 00:00:00')"
    output_field = DateTimeField()


class Parameter(KeyTransform):
    """`Parameter(name, "config")`: a hyperparameter, in the SQL that its index was made with."""

    def as_sqlite(
        self, compiler: Any, connection: Any, **extra: Any
    ) -> tuple[str, tuple[Any, ...]]:
        if not self.key_name.isidentifier():
            raise ValueError(f"{self.key_name!r} is not a valid parameter name")
        lhs, values, _ = self.preprocess_lhs(compiler, connection)
        return f"JSON_EXTRACT({lhs}, '$.{self.key_name}')", tuple(values)
