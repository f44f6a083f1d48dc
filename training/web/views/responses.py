"""Answers that every page gives alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse

from training.jobs import lifecycle


class HttpResponseSeeOther(HttpResponseRedirect):
    """After a POST: look there, with a GET (RFC 9110, 15.4.4)."""

    status_code = 303


def redirect_see_other(name: str, *args: Any) -> HttpResponseSeeOther:
    return HttpResponseSeeOther(reverse(name, args=args))


def run_action(request: HttpRequest, ask: Callable[[], object], done: str) -> bool:
    """Whether what was asked by a form was done; the next page says so, or why not."""
    try:
        ask()
    except lifecycle.ConflictError as refusal:
        messages.warning(request, str(refusal))
        return False
    messages.success(request, done)
    return True


def safe_next_url(address: str) -> str:
    """The address where this installation answers there, else nothing."""
    try:
        return address if resolve(address).url_name else ""
    except Resolver404:
        return ""
