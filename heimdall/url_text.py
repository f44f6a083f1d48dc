"""Middleware that normalizes the text of URLs; 400 for text that a database cannot compare.

Stored text is in NFC, so search terms must be too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

from django.core.exceptions import BadRequest
from django.db import DatabaseError
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.urls import get_resolver
from django.utils.deprecation import MiddlewareMixin

from heimdall_sdk.text import TextError, check_characters
from training.api.errors import is_query_invalid
from training.middleware import AroundOrInstead, middleware

# Each may become a condition of a query, and SQLite has a limit of nested ones.
MAX_PARAMETERS = 300


@middleware
def check_url_text(request: HttpRequest) -> AroundOrInstead:
    try:
        check_characters(request.path)
        for name, values in request.GET.lists():
            for text in (name, *values):
                check_characters(text)
    except TextError as error:
        return _bad_request(request, BadRequest(f"The URL {error}."))
    if sum(len(values) for _, values in request.GET.lists()) > MAX_PARAMETERS:
        sentence = f"The URL has too many parameters; at most {MAX_PARAMETERS} allowed."
        return _bad_request(request, BadRequest(sentence))
    if not request.META.get("QUERY_STRING", "").isascii() or "%" in request.META["QUERY_STRING"]:
        request.GET = _normalized(request.GET)
    yield
    return None


def _bad_request(request: HttpRequest, reason: Exception) -> HttpResponseBase:
    # Not raised: Django would log each with a traceback.
    handler: Callable[..., HttpResponseBase] = get_resolver().resolve_error_handler(400)
    return handler(request, reason)


def _normalized(query: QueryDict) -> Any:
    normalized = QueryDict(mutable=True)
    for name, values in query.lists():
        normalized.setlist(
            unicodedata.normalize("NFC", name),
            [unicodedata.normalize("NFC", text) for text in values],
        )
    normalized._mutable = False  # noqa: SLF001  (as that of a request)
    return normalized


class InvalidQueryMiddleware(MiddlewareMixin):
    """A page whose parameters the database refuses is a bad request; the API does it itself."""

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        if not isinstance(exception, DatabaseError) or not is_query_invalid(exception):
            return None
        return _bad_request(request, exception)
