"""Keeps form input when a submission is rejected because the session or CSRF token changed.

A session may end, or its CSRF token change, while a form is open. The page that answers the
submission then carries the values along as a draft: through the sign-in into the new session, and
from there into the form, where the user sees them before submitting again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, QueryDict

View = TypeVar("View", bound=Callable[..., Any])
FIELD = "draft"  # of the sign-in form
MAX_LENGTH = 200_000
_SESSION_KEY = "form_draft"
_NOT_KEPT = re.compile("csrfmiddlewaretoken|idempotency_key|password|secret|token", re.IGNORECASE)


def keeps_draft(view: View) -> View:
    """Mark a view that shows its form on GET and calls `take` there."""
    view.keeps_draft = True  # type: ignore[attr-defined]
    return view


def has_form(view: Callable[..., Any]) -> bool:
    return bool(getattr(view, "keeps_draft", False))


def pack(request: HttpRequest) -> str:
    """The submitted values as text; empty if there are too many."""
    fields = {
        name: request.POST.getlist(name) for name in request.POST if not _NOT_KEPT.search(name)
    }
    text = json.dumps({"path": request.path, "fields": fields})
    return text if len(text) <= MAX_LENGTH else ""


def store(request: HttpRequest, text: str) -> None:
    """Put a draft into the session; an invalid draft is ignored."""
    try:
        draft = json.loads(text) if len(text) <= MAX_LENGTH else None
    except (ValueError, RecursionError):
        return
    match draft:
        case {"path": str(), "fields": dict(fields)} if all(map(_is_texts, fields.values())):
            request.session[_SESSION_KEY] = draft


def take(request: HttpRequest) -> QueryDict | None:
    """The draft for this page, once; only a GET takes it."""
    draft = request.session.get(_SESSION_KEY) if request.method == "GET" else None
    if not draft or draft["path"] != request.path:
        return None
    del request.session[_SESSION_KEY]
    messages.warning(
        request,
        "This form was not submitted, because your session had ended or changed. Your input is "
        "kept: check it and submit it again. Files must be chosen again.",
    )
    values = QueryDict(mutable=True)
    for name, texts in draft["fields"].items():
        values.setlist(name, texts)
    return values


def fill(form: forms.Form, draft: QueryDict | None) -> None:
    """Show the values of a draft in a form that is not bound."""
    if draft is None or form.is_bound:
        return
    for name, field in form.fields.items():
        html_name = form.add_prefix(name)
        if isinstance(field, forms.FileField):
            continue
        is_absent = field.widget.value_omitted_from_data(draft, {}, html_name)
        if not is_absent:
            form.initial[name] = field.widget.value_from_datadict(draft, {}, html_name)


def _is_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
