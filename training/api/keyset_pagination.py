"""Keyset pagination in several orders: a page starts after the last row of the one before.

No rows are counted or skipped (no OFFSET), so the last page of a long list costs as much as the
first. A row without a value (a job without a result) sorts as if its value were infinite.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from training.api import query_params
from training.api.ordering import SortKey
from training.validation import InvalidInputError


@dataclass(frozen=True, slots=True)
class _Cursor:
    """A row, and whether the page lies before it (`back`) or after it."""

    ordering: str
    value: Any
    pk: UUID
    back: bool

    @classmethod
    def read(cls, text: str, ordering: str, key: SortKey) -> _Cursor:
        try:
            cursor_ordering, value, pk, back = json.loads(base64.urlsafe_b64decode(text.encode()))
            if cursor_ordering == ordering:
                return cls(ordering, key.parse(value), UUID(pk), bool(back))
        except (ValueError, TypeError, AttributeError, OverflowError):
            pass
        raise InvalidInputError(
            {"cursor": ["Invalid cursor; use the `next` and `previous` links."]}
        )

    def __str__(self) -> str:
        text = json.dumps([self.ordering, self.value, str(self.pk), int(self.back)])
        return base64.urlsafe_b64encode(text.encode()).decode()


class KeysetPagination(BasePagination):
    """`ordering` is one of the view's `orderings`; a minus sign reverses it."""

    page_size, max_page_size = 50, 200

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        orderings: Mapping[str, SortKey] = getattr(view, "orderings", {})
        self._url = request.build_absolute_uri()
        requested = request.query_params.get("ordering")
        self._ordering = str(requested or getattr(view, "ordering", ""))
        self._key = _sort_key(orderings, self._ordering)
        text = request.query_params.get("cursor")
        cursor = _Cursor.read(text, self._ordering, self._key) if text else None
        size = query_params.integer(request, "page_size", self.page_size)
        if not 1 <= size <= self.max_page_size:
            raise InvalidInputError(
                {"page_size": [f"{size} is not between 1 and {self.max_page_size}."]}
            )
        back = cursor is not None and cursor.back
        rows = list(self._rows_from(queryset, cursor)[: size + 1])
        has_more, rows = len(rows) > size, rows[:size]
        if back:
            rows.reverse()
        self._next = self._link(rows[-1], False) if rows and (has_more or back) else None
        has_previous = has_more if back else cursor is not None
        self._previous = self._link(rows[0], True) if rows and has_previous else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next, "previous": self._previous, "results": data})

    def _rows_from(self, queryset: QuerySet[Any], cursor: _Cursor | None) -> QuerySet[Any]:
        descending = self._ordering.startswith("-") != (cursor is not None and cursor.back)
        rows = queryset.alias(key=self._key.expression)
        if cursor is not None:
            lookup, value = "lt" if descending else "gt", cursor.value
            # The first condition follows from the second, and lets the database use an index.
            rows = rows.filter(
                Q(**{f"key__{lookup}e": value}),
                Q(**{f"key__{lookup}": value}) | Q(key=value, **{f"pk__{lookup}": cursor.pk}),
            )
        keys = [F("key").desc(), F("pk").desc()] if descending else [F("key").asc(), F("pk").asc()]
        ordered: QuerySet[Any] = rows.order_by(*keys)
        return ordered

    def _link(self, row: Model, back: bool) -> str:
        value = self._key.value_of(row)
        cursor = _Cursor(self._ordering, value, row.pk, back)
        return str(replace_query_param(self._url, "cursor", str(cursor)))

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        values = [sign + name for name in view.orderings for sign in ("", "-")]
        return [
            _parameter("cursor", "Use the `next` and `previous` links of a page.", type="string"),
            _parameter("page_size", f"Rows per page; default {self.page_size}.", type="integer",
                       minimum=1, maximum=self.max_page_size),
            _parameter("ordering", f"A minus sign reverses the order; default `{view.ordering}`.",
                       type="string", enum=values),
        ]  # fmt: skip

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }


def _sort_key(orderings: Mapping[str, SortKey], ordering: str) -> SortKey:
    try:
        return orderings[ordering.removeprefix("-")]
    except KeyError:
        known = ", ".join(orderings)
        raise InvalidInputError({"ordering": [f"{ordering!r} is not one of {known}."]}) from None


def _parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description,
            "schema": schema}  # fmt: skip
