"""HTTP responses shared by the pages."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponseRedirect
from django.urls import Resolver404, get_script_prefix, resolve, reverse

from training.programs.manifest import ManifestError, Program
from training.programs.registry import UnknownProgramError, get_program


class HttpResponseSeeOther(HttpResponseRedirect):
    """Redirect after a POST: the browser follows with a GET (RFC 9110, 15.4.4)."""

    status_code = 303


def redirect_see_other(name: str, *args: Any) -> HttpResponseSeeOther:
    return HttpResponseSeeOther(reverse(name, args=args))


def safe_next_url(url: str) -> str:
    """The URL if this installation serves it, else an empty string."""
    path = url.partition("?")[0]
    prefix = get_script_prefix()
    if not path.startswith(prefix):
        return ""
    try:
        return url if resolve(f"/{path.removeprefix(prefix)}").url_name else ""
    except Resolver404:
        return ""


def get_program_or_404(name: str) -> Program:
    try:
        return get_program(name)
    except (UnknownProgramError, ManifestError) as error:
        raise Http404(str(error)) from error
