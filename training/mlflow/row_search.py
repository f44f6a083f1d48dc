"""Searches of rows whose filter is compared in Python.

The JSON columns of a row may have megabytes. A search therefore reads rows twice, a few at a time:
all of them with what the filter and the orders compare, then those of the page completely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from pydantic import BaseModel

from training.mlflow.filter_grammar import Condition, Kind, Order
from training.mlflow.filter_values import Lookup, compared_kinds, select
from training.mlflow.pages import decode_token, next_token, read_page

Row = TypeVar("Row", bound=Model)
Message = TypeVar("Message", bound=BaseModel)
READ_TOGETHER = 20


@dataclass(frozen=True, slots=True)
class RowSearch(Generic[Row, Message]):
    """`large_columns` have the kind of comparison that reads them; None if no comparison does."""

    lookup: Lookup[Row]
    as_message: Callable[[Row], Message]
    large_columns: Mapping[str, Kind | None]

    def find(
        self,
        rows: QuerySet[Row],
        conditions: Sequence[Condition],
        orders: Sequence[Order],
        page_token: str,
        max_results: int,
    ) -> tuple[list[Message], str | None]:
        """A page of the rows, and the token of the next one; raises MlflowError."""
        start = decode_token(page_token)
        compared = compared_kinds(conditions, orders)
        unread = [name for name, kind in self.large_columns.items() if kind not in compared]
        some = rows.defer(*unread).iterator(chunk_size=READ_TOGETHER)
        keys: list[Any] = select(some, conditions, orders, self.lookup, lambda row: row.pk)
        wanted = keys[start : start + max_results]
        page, sent = read_page(wanted, rows.in_bulk, self.as_message, READ_TOGETHER)
        return page, next_token(start, sent, len(keys))
