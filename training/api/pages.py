"""Long lists a page at a time, from a cursor, so that what is added meanwhile shifts nothing."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class Newest(CursorPagination):
    """Jobs and datasets."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-id")


class ByEpoch(CursorPagination):
    """Epochs from the first on."""

    page_size = 500
    max_page_size = 5000
    page_size_query_param = "page_size"
    ordering = "epoch"
