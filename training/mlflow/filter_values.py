"""Filters and orders of few rows, compared in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from training.mlflow.filter_grammar import Column, Condition, Order

Row = TypeVar("Row")
Lookup = Callable[[Row, Column], str | float | None]


def select(
    rows: Iterable[Row],
    conditions: Sequence[Condition],
    orders: Sequence[Order],
    lookup: Lookup[Row],
) -> list[Row]:
    """The rows that match all conditions; the sort is stable."""
    found = [
        row
        for row in rows
        if all(matches(condition, lookup(row, condition.column)) for condition in conditions)
    ]
    for order in reversed(orders):
        column = order.column
        known = [row for row in found if lookup(row, column) is not None]
        known.sort(key=lambda row: _key(lookup(row, column)), reverse=order.descending)
        found = [*known, *(row for row in found if lookup(row, column) is None)]
    return found


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
    """SQL's LIKE without escapes, in time that grows with the product of the lengths."""
    at = position = 0
    star, resume = -1, 0
    while at < len(text):
        symbol = pattern[position] if position < len(pattern) else ""
        if symbol == "%":
            star, resume = position, at
            position += 1
        elif symbol in ("_", text[at]) and symbol:
            at, position = at + 1, position + 1
        elif star >= 0:
            resume += 1
            at, position = resume, star + 1
        else:
            return False
    return not pattern[position:].strip("%")


def _compare(operator: str, value: float, wanted: float) -> bool:
    return {
        "=": value == wanted,
        "!=": value != wanted,
        "<": value < wanted,
        "<=": value <= wanted,
        ">": value > wanted,
        ">=": value >= wanted,
    }[operator]


def _key(value: str | float | None) -> tuple[float, str]:
    return (0.0, value) if isinstance(value, str) else (value or 0.0, "")
