"""HTTP responses shared by the pages."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse


class HttpResponseSeeOther(HttpResponseRedirect):
    """Redirect after a POST: the browser follows with a GET (RFC 9110, 15.4.4)."""

    status_code = 303


def redirect_see_other(name: str, *args: Any) -> HttpResponseSeeOther:
    return HttpResponseSeeOther(reverse(name, args=args))


def safe_next_url(url: str) -> str:
    """The URL if this installation serves it, else an empty string."""
    try:
        return url if resolve(url).url_name else ""
    except Resolver404:
        return ""
