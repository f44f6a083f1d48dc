"""Conditions on texts of JSON columns, with the operators of SQL that Django has no lookup for."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, Func, TextField

from training.models.expressions import json_item

Sql = tuple[str, tuple[Any, ...]]
_OPERATORS = frozenset({"=", "!=", "<", "<=", ">", ">="})


class JsonText(Func):
    """The text at a key of a JSON object; null where it is missing."""

    output_field = TextField()

    def __init__(self, *expressions: Any, name: str) -> None:
        super().__init__(*expressions)
        self.name = name

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        return f"({column} ->> %s)", (*parameters, self.name)

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        sql, more = json_item(column, self.name)
        return f"CAST({sql} AS TEXT)", (*parameters, *more)


class ByCodePoint(Func):
    """The text, in an order that does not depend on the language of the database."""

    arity = 1
    template = "(%(expressions)s)"
    output_field = TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        return f'({column}) COLLATE "C"', tuple(parameters)


class Compares(Func):
    """`expression operator value`, where the operator may be LIKE, ILIKE, IN or IS NULL."""

    output_field = BooleanField()

    def __init__(self, expression: Any, operator: str, value: Any) -> None:
        super().__init__(expression)
        self.operator, self.value = operator, value

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        left, parameters = compiler.compile(self.get_source_expressions()[0])
        right, more = _right(self.operator, self.value, is_sqlite=True)
        return f"({left} {right})", (*parameters, *more)

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        left, parameters = compiler.compile(self.get_source_expressions()[0])
        right, more = _right(self.operator, self.value, is_sqlite=False)
        return f"({left} {right})", (*parameters, *more)


class AnyDataset(Func):
    """Whether an item of the JSON array of inputs has a dataset whose `key` compares so.

    The key "context" is a tag of the input.
    """

    output_field = BooleanField()

    def __init__(self, *expressions: Any, key: str, operator: str, value: Any) -> None:
        super().__init__(*expressions)
        self.key, self.operator, self.value = key, operator, value

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        right, more = _right(self.operator, self.value, is_sqlite=True)
        if self.key == "context":
            source = f"json_each({column}) AS item, json_each(item.value, '$.tags') AS tag"
            left = "json_extract(tag.value, '$.key') = 'mlflow.data.context' AND "
            left += "json_extract(tag.value, '$.value')"
        else:
            source = f"json_each({column}) AS item"
            left = f"json_extract(item.value, '$.dataset.{self._name}')"
        return f"EXISTS (SELECT 1 FROM {source} WHERE {left} {right})", (*parameters, *more)  # noqa: S608

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Sql:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        right, more = _right(self.operator, self.value, is_sqlite=False)
        source = f"jsonb_array_elements({column}) AS item"
        if self.key == "context":
            source += ", jsonb_array_elements(item -> 'tags') AS tag"
            left = "tag ->> 'key' = 'mlflow.data.context' AND tag ->> 'value'"
        else:
            left = f"item -> 'dataset' ->> '{self._name}'"
        return f"EXISTS (SELECT 1 FROM {source} WHERE {left} {right})", (*parameters, *more)  # noqa: S608

    @property
    def _name(self) -> str:
        """Part of the SQL, so one of two words."""
        return "digest" if self.key == "digest" else "name"


def _right(operator: str, value: Any, *, is_sqlite: bool) -> Sql:
    match operator:
        case "IS NULL" | "IS NOT NULL":
            return operator, ()
        case "IN" | "NOT IN":
            return f"{operator} ({', '.join(['%s'] * len(value))})", tuple(value)
        case "LIKE" if is_sqlite:  # whose LIKE ignores case
            return "GLOB %s", (_as_glob(value),)
        case "ILIKE" if is_sqlite:
            return "LIKE %s", (value,)
        case "LIKE" | "ILIKE":
            return f"{operator} %s ESCAPE ''", (value,)
        case _ if operator in _OPERATORS:
            return f"{operator} %s", (value,)
    raise ValueError(f"{operator!r} is no operator")


def _as_glob(pattern: str) -> str:
    symbols = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(symbols.get(character, character) for character in pattern)
