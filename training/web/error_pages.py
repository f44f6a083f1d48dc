"""Error pages: what happened, and where to continue."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, QueryDict
from django.http.response import HttpResponseBase, HttpResponseRedirectBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import Resolver404, get_script_prefix, resolve, reverse

from training import request_context
from training.outages import describe_outage
from training.references import DELETED, is_deleted_reference
from training.web import drafts

log = logging.getLogger(__name__)

RETRY_SECONDS = "5"
TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)


@dataclass(frozen=True, slots=True)
class ErrorPage:
    status: int
    title: str
    text: str
    link: str = ""  # the URL of the page to continue with; empty: the list of jobs
    link_text: str = "Go to jobs"


class HttpResponsePermanentRedirectSameMethod(HttpResponseRedirectBase):
    status_code = 308


def show(request: HttpRequest, page: ErrorPage) -> HttpResponse:
    """With the navigation of the signed-in user, which reads the session from the database."""
    return render(request, "error.html", {"page": page}, status=page.status)


def show_without_user(page: ErrorPage) -> HttpResponse:
    """For failures of the database, and for code that must not wait for it."""
    html = render_to_string(
        "error.html", {"page": page, "request_id": request_context.request_id.get()}
    )
    return HttpResponse(html, status=page.status)


def page_with_form(path: str) -> str:
    """The page whose form or button posts to this path: the path itself, or one above it."""
    while path.strip("/"):
        try:
            view = resolve(path).func
        except Resolver404:
            view = None
        if view is not None and _shows_page(view):
            return get_script_prefix().rstrip("/") + path
        path = path.rpartition("/")[0]
    return reverse("jobs")


def _shows_page(view: Callable[..., object]) -> bool:
    methods = getattr(getattr(view, "view_class", None), "http_method_names", ("get",))
    return "get" in methods and not getattr(view, "post_only", False)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, TOO_LARGE) and request.method not in ("GET", "HEAD"):
        return show_without_user(
            ErrorPage(
                413,
                "The request is too large",
                f"{str(exception).rstrip('.')}. Nothing was saved; send less at once.",
            )
        )
    return show_without_user(
        ErrorPage(
            400,
            "The request is not valid",
            "It is malformed, or this server does not serve the host name in its address. "
            "Open the page again from its list.",
        )
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    who = f" as {request.user.get_username()}" if request.user.is_authenticated else ""
    text = str(exception) or (
        f"You are signed in{who}, but you lack the permission for this page. Staff can grant it."
    )
    return show(request, ErrorPage(403, "You do not have access", text))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """A redirect if the address is right but for a slash at its end."""
    path = request.path_info.rstrip("/")
    if path and path != request.path_info:
        try:
            resolve(path)
        except Resolver404:
            pass
        else:
            address = request.path.rstrip("/")
            query = request.META.get("QUERY_STRING", "")
            address += f"?{query}" if query else ""
            if request.method in ("GET", "HEAD"):
                return HttpResponsePermanentRedirect(address)
            return HttpResponsePermanentRedirectSameMethod(address)
    return show(
        request, ErrorPage(404, "Page not found", "It does not exist, or you do not have access.")
    )


def method_not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    return show_without_user(
        ErrorPage(
            405,
            "This address has no page",
            f"It accepts only {allowed}, from a button or form of another page. Nothing was "
            "changed.",
            page_with_form(request.path_info),
            "Go to the page",
        )
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Called while the exception is handled; a failure of the machine or a conflict is named."""
    error = sys.exc_info()[1]
    if outage := describe_outage(error):
        log.warning("%s: %s", outage.title, error)
        response = show_without_user(ErrorPage(outage.status, outage.title, outage.text))
        if outage.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["Retry-After"] = RETRY_SECONDS
        return response
    if is_deleted_reference(error):
        where = page_with_form(request.path_info)
        page = ErrorPage(409, "Something was deleted", DELETED, where, "Back to the page")
        return show_without_user(page)
    return show_without_user(
        ErrorPage(
            500,
            "Something went wrong",
            "The server could not process the request; its log has the reason. Report it with the "
            "request ID below.",
        )
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """The CSRF token changes with each sign-in: a form that was opened before has the old one.

    The form is shown again with the values that were typed; nothing is done with them until the
    user submits it from this site.
    """
    if not request.user.is_authenticated:
        return sign_in_first(request)
    match = request.resolver_match
    if match is not None and drafts.has_form(match.func):
        drafts.store(request, drafts.pack(request))
        request.method, request.POST = "GET", QueryDict()
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        if response.status_code == 200:
            response.status_code = 403
        return response
    return show(
        request,
        ErrorPage(
            403,
            "This page was outdated",
            "You signed in again since it was loaded, or your browser refuses cookies. Nothing was "
            "changed. Reload the page and repeat what you did.",
            page_with_form(request.path_info),
            "Back to the page",
        ),
    )


def sign_in_first(request: HttpRequest) -> HttpResponse:
    """The sign-in page in answer to a form or button of a session that has ended."""
    match = request.resolver_match
    draft = drafts.pack(request) if match is not None and drafts.has_form(match.func) else ""
    if request.path == reverse("login"):
        target = request.POST.get("next", "")
    else:
        target = request.get_full_path() if draft else page_with_form(request.path_info)
    context = {
        "form": AuthenticationForm(request),
        "next": target,
        "draft": draft,
        "notice": "Your session has ended, so nothing was changed. Sign in to continue"
        + ("; what you typed is kept." if draft else "."),
    }
    return render(request, "registration/login.html", context, status=403)
