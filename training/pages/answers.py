"""Answers that every page gives alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse

from training import lifecycle


class SeeOther(HttpResponseRedirect):
    """After a POST: look there, with a GET (RFC 9110, 15.4.4)."""

    status_code = 303


def see_other(name: str, *args: Any) -> SeeOther:
    return SeeOther(reverse(name, args=args))


def tried(request: HttpRequest, ask: Callable[[], object], done: str) -> bool:
    """Whether what was asked by a form was done; the next page says so, or why not."""
    try:
        ask()
    except lifecycle.Conflict as refusal:
        messages.warning(request, str(refusal))
        return False
    messages.success(request, done)
    return True


def known_address(address: str) -> str:
    """The address where this installation answers there, else nothing."""
    try:
        return address if resolve(address).url_name else ""
    except Resolver404:
        return ""
