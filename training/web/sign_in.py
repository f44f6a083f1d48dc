"""Decorators of views: required sign-in, and buttons that accept only POST."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_POST

from training.web.error_pages import sign_in_first

P = ParamSpec("P")
Response = TypeVar("Response", bound=HttpResponseBase)
View = Callable[Concatenate[HttpRequest, P], Response]


def sign_in_required(view: View[P, Response]) -> View[P, Response | HttpResponse]:
    """Unlike Django's `login_required`, keeps what was submitted by a session that has ended."""

    @wraps(view)
    def check(
        request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> Response | HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if request.method in ("GET", "HEAD"):
            return redirect_to_login(request.get_full_path())
        return sign_in_first(request)

    return check


def post_only(view: View[P, Response]) -> View[P, Response]:
    """The target of a button, which has no page: a sign-in never redirects to it."""
    checked: View[P, Response] = require_POST(view)
    checked.post_only = True  # type: ignore[attr-defined]
    return checked
