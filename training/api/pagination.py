"""Long lists a page at a time, from a cursor, so that what is added meanwhile shifts nothing."""

from __future__ import annotations

from typing import Any

from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from training.api import query_params
from training.validation import InvalidInputError


class _PageSize(CursorPagination):
    page_size: int
    max_page_size: int

    def get_page_size(self, request: Request) -> int:
        size = query_params.integer(request, "page_size", self.page_size)
        if size < 1:
            raise InvalidInputError({"page_size": [f"{size} is too small: at least 1."]})
        return min(size, self.max_page_size)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for one in said:
            if one["name"] == self.page_size_query_param:
                one["schema"] = {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": query_params.MAX_INTEGER,
                }
        return said


class NewestFirst(_PageSize):
    """Jobs and datasets."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-id")


class ByEpoch(_PageSize):
    """Epochs from the first on."""

    page_size = 500
    max_page_size = 5000
    page_size_query_param = "page_size"
    ordering = "epoch"
