"""Middleware for all pages: they are not cached, and no response is empty."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from training.middleware import Around, middleware
from training.web.error_pages import method_not_allowed


@middleware
def cache_control_middleware(request: HttpRequest) -> Around:
    """A page is not shown again by the back button after its user signed out."""
    response = yield
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    policy = "private, no-store" if is_page else "private, no-cache"
    response.headers.setdefault("Cache-Control", policy)


@middleware
def method_page_middleware(request: HttpRequest) -> Around:
    """Django answers a GET of what accepts only POST with 405 and an empty page."""
    response = yield
    if (
        isinstance(response, HttpResponse)
        and response.status_code == 405
        and not response.content
        and not request.path_info.startswith("/api/")
    ):
        page = method_not_allowed(request, response.headers.get("Allow", "other methods"))
        response.content = page.content
        response.headers["Content-Type"] = page.headers["Content-Type"]
