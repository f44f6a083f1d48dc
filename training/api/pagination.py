"""Cursor pagination: rows that are added between two requests do not shift the pages."""

from __future__ import annotations

from typing import Any

from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from training.api import query_params
from training.api.query_params import Schema


class _PageSizePagination(CursorPagination):
    page_size: int
    max_page_size: int

    def get_page_size(self, request: Request) -> int:
        size = query_params.integer(request, "page_size", self.page_size, minimum=1)
        return min(size, self.max_page_size)

    def get_schema_operation_parameters(self, view: Any) -> list[Schema]:
        parameters: list[Schema] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] = {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": query_params.MAX_INTEGER,
                }
        return parameters


class NewestFirstPagination(_PageSizePagination):
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-id")


class EpochPagination(_PageSizePagination):
    page_size = 500
    max_page_size = 5000
    page_size_query_param = "page_size"
    ordering = "epoch"
