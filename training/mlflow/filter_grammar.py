"""Filter and order of searches, as MLflow's clients write them.

    metrics.loss < 0.5 AND params.`batch size` = '64' AND tags.stage ILIKE 'prod%'
    attributes.run_id IN ('…', '…') AND dataset.name = 'digits'

A filter is a list of comparisons joined by AND. It is parsed, and never evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast

from training.mlflow.errors import invalid

Kind = Literal["attribute", "metric", "param", "tag", "dataset"]
Operator = Literal[
    "=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"
]
Value = str | float | tuple[str, ...] | None

MAX_CONDITIONS = 50
# A comparison takes time for each character of the pattern, and SQLite refuses very long ones.
MAX_PATTERN = 1000
_KINDS: dict[str, Kind] = {
    "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
    "metric": "metric", "metrics": "metric",
    "parameter": "param", "parameters": "param", "param": "param", "params": "param",
    "tag": "tag", "tags": "tag",
    "dataset": "dataset", "datasets": "dataset",
}  # fmt: skip
_NUMERIC = frozenset({"=", "!=", "<", "<=", ">", ">="})
_PATTERNS = frozenset({"LIKE", "ILIKE"})
_TEXTUAL = _PATTERNS | {"=", "!="}
_LISTS, _NULLS = frozenset({"IN", "NOT IN"}), frozenset({"IS NULL", "IS NOT NULL"})
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'[^']*'|"[^"]*")
    | (?P<quoted>`[^`]*`)
    | (?P<number>-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
    | (?P<word>\w+)
    | (?P<operator><=|>=|!=|=|<|>)
    | (?P<mark>[.,()])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Column:
    """The operand of a comparison or order: an attribute, or a metric, parameter or tag by name."""

    kind: Kind
    key: str


@dataclass(frozen=True, slots=True)
class Condition:
    """`value` is a number for metrics and moments, else a text, a list of texts, or None."""

    column: Column
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Order:
    column: Column
    descending: bool


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of what is searched: by number, by text, and those that lists may compare."""

    numeric: frozenset[str]
    textual: frozenset[str]
    in_lists: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset({"attribute", "tag"})


def parse_filter(text: str, attributes: Attributes) -> list[Condition]:
    """Raises MlflowError with what is wrong."""
    return _Parser(text, attributes).filter() if text.strip() else []


def parse_order(text: str, attributes: Attributes) -> Order:
    return _Parser(text, attributes).order()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


class _Parser:
    def __init__(self, text: str, attributes: Attributes) -> None:
        self._text, self._attributes = text, attributes
        self._tokens, self._at = self._split(text), 0

    def filter(self) -> list[Condition]:
        found = [self._condition()]
        while self._next_is_word("AND"):
            found.append(self._condition())
            if len(found) > MAX_CONDITIONS:
                raise invalid(f"The filter has more than {MAX_CONDITIONS} conditions.")
        self._require_end("AND")
        return found

    def order(self) -> Order:
        column = self._column()
        if column.kind == "dataset":
            raise invalid("Invalid order_by entity type 'dataset'")
        descending = self._next_is_word("DESC")
        if not descending:
            self._next_is_word("ASC")
        self._require_end("ASC or DESC")
        return Order(column, descending)

    def _split(self, text: str) -> list[_Token]:
        tokens, at, end = [], 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise self._error(f"unexpected {text[at : at + 20].strip()!r}")
            tokens.append(_Token(found.lastgroup, found[found.lastgroup]))
            at = found.end()
        return tokens

    def _condition(self) -> Condition:
        column, operator = self._column(), self._operator()
        self._check_operator(column, operator)
        if operator in _NULLS:
            return Condition(column, operator, None)
        if operator in _LISTS:
            return Condition(column, operator, self._list())
        if operator in _PATTERNS:
            return Condition(column, operator, self._pattern(operator))
        is_number = self._is_numeric(column)
        return Condition(column, operator, self._number(column) if is_number else self._string())

    def _column(self) -> Column:
        first = self._name()
        if not self._next_is_mark("."):
            return self._checked(Column("attribute", first))
        kind = _KINDS.get(first)
        if kind is None or kind not in self._attributes.kinds:
            allowed = sorted(self._attributes.kinds)
            raise invalid(f"Invalid entity type {first!r}. Valid values are {allowed}")
        key = self._name()
        while self._next_is_mark("."):
            key += f".{self._name()}"
        return self._checked(Column(kind, key))

    def _checked(self, column: Column) -> Column:
        known: Collection[str] = self._attributes.numeric | self._attributes.textual
        if column.kind == "dataset":
            known = ("name", "digest", "context")
        if column.kind in ("attribute", "dataset") and column.key not in known:
            raise invalid(
                f"Invalid {column.kind} key {column.key!r} specified. Valid keys are "
                f"{sorted(known)}"
            )
        return column

    def _name(self) -> str:
        token = self._take("a name")
        if token.kind in ("quoted", "string"):
            return token.text[1:-1]
        if token.kind in ("word", "number"):
            return token.text
        raise self._error(f"expected a name, found {token.text!r}")

    def _operator(self) -> Operator:
        token = self._take("a comparison")
        word = token.text.upper()
        if token.kind == "word" and word == "NOT" and self._next_is_word("IN"):
            word = "NOT IN"
        elif token.kind == "word" and word == "IS":
            word = "IS NOT NULL" if self._next_is_word("NOT") else "IS NULL"
            if not self._next_is_word("NULL"):
                raise self._error("expected NULL")
        elif token.kind != "operator" and word not in ("LIKE", "ILIKE", "IN"):
            raise self._error(f"expected a comparison, found {token.text!r}")
        return cast(Operator, word)

    def _check_operator(self, column: Column, operator: Operator) -> None:
        if self._is_numeric(column):
            allowed = _NUMERIC
        else:
            allowed = _TEXTUAL
            if column.kind in ("param", "tag"):
                allowed = _TEXTUAL | _NULLS
            elif column.kind == "dataset" or column.key in self._attributes.in_lists:
                allowed = _TEXTUAL | _LISTS
        if operator not in allowed:
            raise invalid(
                f"Invalid comparator {operator!r} for {column.kind} {column.key!r}, not one of "
                f"{sorted(allowed)}"
            )

    def _is_numeric(self, column: Column) -> bool:
        return column.kind == "metric" or (
            column.kind == "attribute" and column.key in self._attributes.numeric
        )

    def _number(self, column: Column) -> float:
        token = self._take("a number")
        if token.kind != "number":
            raise invalid(
                f"Expected numeric value type for {column.kind} {column.key!r}. Found {token.text}"
            )
        return float(token.text)

    def _string(self) -> str:
        token = self._take("a quoted string")
        if token.kind != "string":
            raise invalid(f"Expected a quoted string value (e.g. 'my-value'). Found {token.text}")
        return token.text[1:-1]

    def _pattern(self, operator: Operator) -> str:
        text = self._string()
        if len(text) > MAX_PATTERN:
            raise invalid(
                f"The pattern of {operator} has {len(text):,} characters; use at most "
                f"{MAX_PATTERN:,}."
            )
        return text

    def _list(self) -> tuple[str, ...]:
        if not self._next_is_mark("("):
            raise self._error("expected a list of quoted strings in parentheses")
        found = [self._string()]
        while self._next_is_mark(","):
            found.append(self._string())
        if not self._next_is_mark(")"):
            raise self._error("the closing parenthesis of the list is missing")
        return tuple(found)

    def _take(self, expected: str) -> _Token:
        if self._at >= len(self._tokens):
            raise self._error(f"expected {expected} at its end")
        self._at += 1
        return self._tokens[self._at - 1]

    def _next_is_word(self, word: str) -> bool:
        return self._next_is("word", word)

    def _next_is_mark(self, mark: str) -> bool:
        return self._next_is("mark", mark)

    def _next_is(self, kind: str, text: str) -> bool:
        """Take the next token if it is this one."""
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == kind and token.text.upper() == text:
                self._at += 1
                return True
        return False

    def _require_end(self, expected: str) -> None:
        if self._at < len(self._tokens):
            found = self._tokens[self._at].text
            raise self._error(f"expected {expected}, found {found!r}")

    def _error(self, reason: str) -> Exception:
        return invalid(f"Invalid clause in {self._text[:200]!r}: {reason}.")
