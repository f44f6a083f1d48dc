"""Filters and orders that are compared in Python, row by row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

from training.mlflow.filter_grammar import Column, Condition, Kind, Order

Row = TypeVar("Row")
Key = TypeVar("Key")
Lookup = Callable[[Row, Column], str | float | None]


def select(
    rows: Iterable[Row],
    conditions: Sequence[Condition],
    orders: Sequence[Order],
    lookup: Lookup[Row],
    key_of: Callable[[Row], Key],
) -> list[Key]:
    """The keys of the rows that match all conditions; the sort is stable.

    Keeps only the key of a row and the values that the orders compare.
    """
    found = [
        (key_of(row), [lookup(row, order.column) for order in orders])
        for row in rows
        if all(matches(condition, lookup(row, condition.column)) for condition in conditions)
    ]
    for number, order in reversed(list(enumerate(orders))):
        known = [(key, values) for key, values in found if values[number] is not None]
        missing = [(key, values) for key, values in found if values[number] is None]
        known.sort(key=lambda match: _rank(match[1][number]), reverse=order.descending)
        found = known + missing
    return [key for key, _ in found]


def compared_kinds(conditions: Sequence[Condition], orders: Sequence[Order]) -> set[Kind]:
    """The kinds of columns that the search reads."""
    columns = [one.column for one in conditions] + [one.column for one in orders]
    return {column.kind for column in columns}


def matches(condition: Condition, value: str | float | None) -> bool:
    operator, wanted = condition.operator, condition.value
    if operator in ("IS NULL", "IS NOT NULL"):
        return (value is None) == (operator == "IS NULL")
    if value is None:
        return False
    if isinstance(wanted, tuple):
        return (value in wanted) == (operator == "IN")
    if isinstance(wanted, float):
        return _compare(operator, float(value), wanted)
    text, pattern = str(value), str(wanted)
    if operator == "LIKE":
        return is_like(text, pattern)
    if operator == "ILIKE":
        return is_like(text.lower(), pattern.lower())
    return (text == pattern) == (operator == "=")


def is_like(text: str, pattern: str) -> bool:
    """SQL's LIKE without escapes."""
    first, *others = pattern.split("%")
    if not others:
        return len(text) == len(pattern) and _find(pattern, text, 0, len(text)) == 0
    *between, last = others
    if len(text) < len(first) + len(last) or _find(first, text, 0, len(first)) != 0:
        return False
    at, end = len(first), len(text) - len(last)
    # The leftmost place of each piece leaves the most room for the next, so none is tried twice.
    for piece in between:
        found = _find(piece, text, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return _find(last, text, end, len(text)) == end


def _find(piece: str, text: str, start: int, end: int) -> int:
    """As `str.find`, with `_` for any character."""
    if "_" not in piece:
        return text.find(piece, start, end)
    found = _as_regex(piece).search(text, start, end)
    return found.start() if found else -1


@lru_cache(maxsize=100)
def _as_regex(piece: str) -> re.Pattern[str]:
    # Without repetitions, so that it cannot backtrack.
    symbols = ("." if symbol == "_" else re.escape(symbol) for symbol in piece)
    return re.compile("".join(symbols), re.DOTALL)


def _compare(operator: str, value: float, wanted: float) -> bool:
    return {
        "=": value == wanted,
        "!=": value != wanted,
        "<": value < wanted,
        "<=": value <= wanted,
        ">": value > wanted,
        ">=": value >= wanted,
    }[operator]


def _rank(value: str | float | None) -> tuple[float, str]:
    return (0.0, value) if isinstance(value, str) else (value or 0.0, "")
