"""Answers that every page gives alike."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse


class SeeOther(HttpResponseRedirect):
    """After a POST: look there, with a GET (RFC 9110, 15.4.4)."""

    status_code = 303


def see_other(name: str, *args: Any) -> SeeOther:
    return SeeOther(reverse(name, args=args))


def known_address(address: str) -> str:
    """The address where this installation answers there, else nothing."""
    try:
        return address if resolve(address).url_name else ""
    except Resolver404:
        return ""
