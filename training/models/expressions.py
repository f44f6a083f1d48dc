"""Database expressions that jobs are filtered and ordered by; each matches an index."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from django.db.models import BooleanField, DateTimeField, F, FloatField, Func, JSONField, Lookup, Q
from django.db.models.fields.json import KeyTransform

# Literals in the SQL, not bound parameters: SQLite matches an expression index by its text.
INFINITY = 1e308
FAR_FUTURE = datetime(9999, 12, 31, tzinfo=UTC)
MAX_INDEXED_BYTES = 200

Sql = tuple[str, tuple[Any, ...]]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./ -]+")

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


class NotEmpty(Func):
    """Whether the text has characters; the condition of an index of few rows."""

    template = "(%(expressions)s <> '')"
    output_field = BooleanField()


class Unindexed(Func):
    """The column, in a form for which SQLite uses no index."""

    arity = 1
    template = "%(expressions)s"

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Sql:
        sql, values = self.as_sql(compiler, connection, template="+%(expressions)s", **extra)
        return sql, tuple(values)


class SecondsBetween(Func):
    """From the first moment to the second; infinite if either is null."""

    output_field = FloatField()
    arity = 2

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Sql:
        first, second = (compiler.compile(part)[0] for part in self.get_source_expressions())
        return f"COALESCE((julianday({second}) - julianday({first})) * 86400.0, 1e308)", ()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Sql:
        first, second = (compiler.compile(part)[0] for part in self.get_source_expressions())
        return f"COALESCE(EXTRACT(EPOCH FROM ({second} - {first}))::double precision, 1e308)", ()


class Parameter(KeyTransform):
    """`Parameter(name, "config")`: a hyperparameter, in the SQL that its index was made with.

    On PostgreSQL, null if its text has more than MAX_INDEXED_BYTES.
    """

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Sql:
        # An entry of an index has at most 2,704 bytes, and JSON takes several times its text.
        lhs, values, _ = self.preprocess_lhs(compiler, connection)
        sql = f"CASE WHEN OCTET_LENGTH({lhs} ->> %s) <= {MAX_INDEXED_BYTES} THEN {lhs} -> %s END"
        return f"({sql})", (*values, self.key_name, *values, self.key_name)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Sql:
        if not self.key_name.isidentifier():
            raise ValueError(f"{self.key_name!r} is not a valid parameter name")
        lhs, values, _ = self.preprocess_lhs(compiler, connection)
        return f"JSON_EXTRACT({lhs}, '$.{self.key_name}')", tuple(values)


def json_item(column: str, name: str) -> Sql:
    """SQLite's value at a key of the JSON object."""
    if _PLAIN_NAME.fullmatch(name):
        return f"JSON_EXTRACT({column}, '$.\"{name}\"')", ()
    # A path of JSON_EXTRACT cannot quote every name, but is much faster.
    return f"(SELECT value FROM json_each({column}) WHERE key = %s)", (name,)  # noqa: S608


class MetricValue(Func):
    """The number at a key of a JSON object of metrics; null where it is missing or null."""

    output_field = FloatField()

    def __init__(self, *expressions: Any, name: str) -> None:
        super().__init__(*expressions)
        self.name = name

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        return f"({column} ->> %s)::double precision", (*parameters, self.name)

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        sql, more = json_item(column, self.name)
        return sql, (*parameters, *more)


@JSONField.register_lookup
class HasItem(Lookup):
    """`tags__has_item="x"`: the JSON array contains this string."""

    lookup_name = "has_item"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        lhs, params = self.process_lhs(compiler, connection)
        # Parsing is slow, so it is done only for texts that have the string at all.
        sql = f"INSTR({lhs}, %s) AND EXISTS (SELECT 1 FROM json_each({lhs}) WHERE value = %s)"  # noqa: S608
        return f"({sql})", (*params, json.dumps(self.rhs), *params, self.rhs)

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        lhs, params = self.process_lhs(compiler, connection)
        return f"{lhs} @> %s::jsonb", (*params, json.dumps([self.rhs]))
