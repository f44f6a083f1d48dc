"""Lists in any order, a page at a time: each page begins where the one before it ended.

No row is counted and none is skipped over, so the last page of a long list costs what the first
one does. What has no value yet (a job without a result) stands where an infinite one would.
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
from training.api.ordering import Key
from training.validation import InvalidInputError


@dataclass(frozen=True, slots=True)
class _Cursor:
    """The row that a page lies next to, and on which side of it."""

    ordering: str
    value: Any
    pk: UUID
    back: bool

    @classmethod
    def read(cls, text: str, ordering: str, key: Key) -> _Cursor:
        try:
            said, value, pk, back = json.loads(base64.urlsafe_b64decode(text.encode()))
            if said == ordering:
                return cls(said, key.parse(value), UUID(pk), bool(back))
        except (ValueError, TypeError, AttributeError, OverflowError):
            pass
        raise InvalidInputError({"cursor": ["It is none of this list; follow next and previous."]})

    def __str__(self) -> str:
        told = json.dumps([self.ordering, self.value, str(self.pk), int(self.back)])
        return base64.urlsafe_b64encode(told.encode()).decode()


class KeysetPagination(BasePagination):
    """`ordering` names one of the view's `orderings`, backwards with a minus before it."""

    size, most = 50, 200

    def paginate_queryset(
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any]:
        orderings: Mapping[str, Key] = getattr(view, "orderings", {})
        self._url = request.build_absolute_uri()
        asked = request.query_params.get("ordering")
        self._ordering = str(asked or getattr(view, "ordering", ""))
        self._key = _named(orderings, self._ordering)
        sent = request.query_params.get("cursor")
        cursor = _Cursor.read(sent, self._ordering, self._key) if sent else None
        size = query_params.integer(request, "page_size", self.size)
        if not 1 <= size <= self.most:
            raise InvalidInputError({"page_size": [f"{size} is not between 1 and {self.most}."]})
        back = cursor is not None and cursor.back
        rows = list(self._from(queryset, cursor)[: size + 1])
        more, rows = len(rows) > size, rows[:size]
        if back:
            rows.reverse()
        self._next = self._link(rows[-1], False) if rows and (more or back) else None
        before = more if back else cursor is not None
        self._previous = self._link(rows[0], True) if rows and before else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next, "previous": self._previous, "results": data})

    def _from(self, queryset: QuerySet[Any], cursor: _Cursor | None) -> QuerySet[Any]:
        down = self._ordering.startswith("-") != (cursor is not None and cursor.back)
        rows = queryset.alias(key=self._key.expression)
        if cursor is not None:
            past, value = "lt" if down else "gt", cursor.value
            # The first condition follows from the second, and lets an index begin there.
            rows = rows.filter(
                Q(**{f"key__{past}e": value}),
                Q(**{f"key__{past}": value}) | Q(key=value, **{f"pk__{past}": cursor.pk}),
            )
        keys = [F("key").desc(), F("pk").desc()] if down else [F("key").asc(), F("pk").asc()]
        ordered: QuerySet[Any] = rows.order_by(*keys)
        return ordered

    def _link(self, row: Model, back: bool) -> str:
        value = self._key.of(row)
        cursor = _Cursor(self._ordering, value, row.pk, back)
        return str(replace_query_param(self._url, "cursor", str(cursor)))

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        both = [sign + name for name in view.orderings for sign in ("", "-")]
        return [
            _parameter("cursor", "From `next` or `previous` of a page.", type="string"),
            _parameter("page_size", f"At most so many; default {self.size}.", type="integer",
                       minimum=1, maximum=self.most),
            _parameter("ordering", f"Backwards with a minus; default `{view.ordering}`.",
                       type="string", enum=both),
        ]  # fmt: skip

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }


def _named(orderings: Mapping[str, Key], ordering: str) -> Key:
    try:
        return orderings[ordering.removeprefix("-")]
    except KeyError:
        known = ", ".join(orderings)
        raise InvalidInputError({"ordering": [f"{ordering!r} is not one of {known}."]}) from None


def _parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description,
            "schema": schema}  # fmt: skip
