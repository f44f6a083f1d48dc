"""Keyset pagination in several orders: a page starts after the last row of the one before.

No rows are counted or skipped (no OFFSET), so the last page of a long list costs as much as the
first. A row without a value (a job without a result) sorts as if its value were infinite.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import F, Model, Q, QuerySet
from pydantic import JsonValue
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from training.api import query_params
from training.api.ordering import SortKey
from training.api.query_params import Schema
from training.validation import InvalidInputError


@dataclass(frozen=True, slots=True)
class _Cursor:
    """A row, and whether the page lies before it (`back`) or after it."""

    ordering: str
    values: list[Any]  # of its sort key and the one that breaks ties
    pk: UUID
    back: bool

    @classmethod
    def read(cls, text: str, ordering: str, keys: Sequence[SortKey]) -> _Cursor:
        try:
            cursor_ordering, value, pk, back = json.loads(base64.urlsafe_b64decode(text.encode()))
            if cursor_ordering == ordering:
                values = [value] if len(keys) == 1 else value
                parsed = [key.parse(one) for key, one in zip(keys, values, strict=True)]
                return cls(ordering, parsed, UUID(pk), bool(back))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            pass
        raise InvalidInputError(
            {"cursor": ["Invalid cursor; use the `next` and `previous` links."]}
        )

    @classmethod
    def of(cls, row: Model, ordering: str, keys: Sequence[SortKey], back: bool) -> _Cursor:
        return cls(ordering, [key.value_of(row) for key in keys], row.pk, back)

    def __str__(self) -> str:
        value = self.values[0] if len(self.values) == 1 else self.values
        text = json.dumps([self.ordering, value, str(self.pk), int(self.back)])
        return base64.urlsafe_b64encode(text.encode()).decode()


class Page(NamedTuple):
    """Rows, and the cursors of the previous and next page; empty if there is no such page."""

    rows: list[Any]
    next: str
    previous: str


def read_page(
    queryset: QuerySet[Any],
    orderings: Mapping[str, SortKey],
    ordering: str,
    cursor_text: str,
    size: int,
) -> Page:
    """The page at the cursor, or the first; raises InvalidInputError."""
    key = sort_key(orderings, ordering)
    keys = [key, key.then] if key.then else [key]
    cursor = _Cursor.read(cursor_text, ordering, keys) if cursor_text else None
    back = cursor is not None and cursor.back
    rows = list(_rows_from(queryset, keys, ordering, cursor)[: size + 1])
    has_more, rows = len(rows) > size, rows[:size]
    if back:
        rows.reverse()
    has_next = bool(rows) and (has_more or back)
    has_previous = bool(rows) and (has_more if back else cursor is not None)
    return Page(
        rows,
        str(_Cursor.of(rows[-1], ordering, keys, False)) if has_next else "",
        str(_Cursor.of(rows[0], ordering, keys, True)) if has_previous else "",
    )


def _rows_from(
    queryset: QuerySet[Any], keys: Sequence[SortKey], ordering: str, cursor: _Cursor | None
) -> QuerySet[Any]:
    descending = ordering.startswith("-") != (cursor is not None and cursor.back)
    names = ["sort_key", "tie_key"][: len(keys)]
    expressions = {name: key.expression for name, key in zip(names, keys, strict=True)}
    rows = queryset.annotate(**expressions)
    names.append("pk")
    if cursor is not None:
        values = dict(zip(names, [*cursor.values, cursor.pk], strict=True))
        lookup = "lt" if descending else "gt"
        # The first condition follows from the second, and lets the database use an index.
        rows = rows.filter(
            Q(**{f"sort_key__{lookup}e": values["sort_key"]}), _beyond(values, lookup)
        )
    ordered: QuerySet[Any] = rows.order_by(
        *(F(name).desc() if descending else F(name).asc() for name in names)
    )
    return ordered


def _beyond(values: Mapping[str, Any], lookup: str) -> Q:
    """Rows after the values in lexicographic order: (a, b) > (x, y)."""
    condition, equal = Q(), Q()
    for name, value in values.items():
        condition |= equal & Q(**{f"{name}__{lookup}": value})
        equal &= Q(**{name: value})
    return condition


class KeysetPagination(BasePagination):
    """`ordering` is one of the view's `orderings`; a minus sign reverses it."""

    page_size, max_page_size = 50, 200

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        orderings: Mapping[str, SortKey] = getattr(view, "orderings", {})
        self._url = request.build_absolute_uri()
        requested = request.query_params.get("ordering")
        ordering = str(requested or getattr(view, "ordering", ""))
        sort_key(orderings, ordering)
        size = query_params.integer(request, "page_size", self.page_size, self.max_page_size, 1)
        cursor = request.query_params.get("cursor", "")
        self._page = read_page(queryset, orderings, ordering, cursor, size)
        return self._page.rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "next": self._link(self._page.next),
                "previous": self._link(self._page.previous),
                "results": data,
            }
        )

    def _link(self, cursor: str) -> str | None:
        return str(replace_query_param(self._url, "cursor", cursor)) if cursor else None

    def get_schema_operation_parameters(self, view: Any) -> list[Schema]:
        values = [sign + name for name in view.orderings for sign in ("", "-")]
        return [
            _parameter("cursor", "Use the `next` and `previous` links of a page.", type="string"),
            _parameter("page_size", f"Rows per page; default {self.page_size}.", type="integer",
                       minimum=1, maximum=self.max_page_size),
            _parameter("ordering", f"A minus sign reverses the order; default `{view.ordering}`.",
                       type="string", enum=values),
        ]  # fmt: skip

    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        link: Schema = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }


def sort_key(orderings: Mapping[str, SortKey], ordering: str) -> SortKey:
    try:
        return orderings[ordering.removeprefix("-")]
    except KeyError:
        known = ", ".join(orderings)
        raise InvalidInputError({"ordering": [f"{ordering!r} is not one of {known}."]}) from None


def _parameter(name: str, description: str, **schema: JsonValue) -> Schema:
    return {"name": name, "in": "query", "required": False, "description": description,
            "schema": schema}  # fmt: skip
