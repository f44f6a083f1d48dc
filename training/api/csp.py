"""A Content Security Policy for a single view, as `django.views.decorators.csp` in Django 6.0."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any

from django.http import HttpResponseBase

View = Callable[..., HttpResponseBase]


def csp_override(policy: Mapping[str, Collection[str]]) -> Callable[[View], View]:
    """Send `policy` instead of the setting SECURE_CSP."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> HttpResponseBase:
            response = view(*args, **kwargs)
            response._csp_config = policy  # type: ignore[attr-defined]  # noqa: SLF001
            return response

        return wrapper

    return decorate
