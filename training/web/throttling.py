"""The rate limit of pages: the same requests per user and minute as those of the API."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from training.accounts.rate_limits import rate_limiter
from training.web import error_pages

View = Callable[..., HttpResponseBase]


def throttle_page(view: View) -> View:
    """Answer 429 above HEIMDALL_REQUESTS_PER_MINUTE."""

    @wraps(view)
    def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            # The same row as for requests of the API (`training.api.throttling.UserThrottle`).
            limit = rate_limiter.acquire(f"user:{request.user.pk}", settings.REQUESTS_PER_MINUTE)
            if not limit.granted:
                response = error_pages.show_without_user(
                    error_pages.ErrorPage(
                        429,
                        "Too many requests",
                        f"Nothing was changed; try again in {limit.reset} seconds.",
                    )
                )
                response["Retry-After"] = str(limit.reset)
                return response
        return view(request, *args, **kwargs)

    return throttled
