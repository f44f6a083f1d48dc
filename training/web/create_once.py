"""One object for each form that is shown, however often it is submitted.

Two clicks send two requests, and a reloaded answer sends the form again. Each form has a key of its
own (`{% idempotency_key %}`); the same key with the same values leads to the first object. Another
submission of the form with changed values is another one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse

from training.accounts import idempotency
from training.accounts.permissions import signed_in_user
from training.models import ApiToken, Dataset, IdempotencyKey, Job, Project, Sweep

Row = TypeVar("Row", ApiToken, Dataset, Job, Project, Sweep)
FIELD = "idempotency_key"
MAX_KEY_LENGTH = 100
# A browser shows the answer to the second click, so it waits for the first one to end.
WAIT_SECONDS, POLL_SECONDS = 3.0, 0.1


@dataclass(frozen=True, slots=True)
class Creation(Generic[Row]):
    """`row` is None if an earlier submission created it."""

    url: str
    row: Row | None = None


def create_once(
    request: HttpRequest,
    page: str,
    create: Callable[[], Row],
    *,
    atomic: bool = True,
    url: str = "",
) -> Creation[Row]:
    """`create` runs at most once; `page` is the name of the URL of what it creates.

    `url`: the page to show if the created object has no page.

    `atomic`: the object and the key are committed together. Not for slow creations, because they
    would keep SQLite locked.
    """
    key = request.POST.get(FIELD, "")
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        row = create()
        return Creation(url or reverse(page, args=[row.pk]), row)
    orphaned_after = idempotency.ORPHANED_AFTER if atomic else idempotency.IMPORT_ORPHANED_AFTER
    claim = _acquire(request, key, orphaned_after)
    if claim is None:
        messages.warning(
            request, "This form was already submitted and is being processed. Reload in a moment."
        )
        return Creation(url or reverse(f"{page}s"))
    if claim.status is not None:
        return Creation(claim.body)
    try:
        block: AbstractContextManager[object] = transaction.atomic() if atomic else nullcontext()
        with block:
            row = create()
            url = url or reverse(page, args=[row.pk])
            idempotency.complete(claim, 303, url)
    except BaseException:
        idempotency.release(claim)
        raise
    return Creation(url, row)


def _acquire(request: HttpRequest, key: str, orphaned_after: timedelta) -> IdempotencyKey | None:
    """None if the first submission is still being processed."""
    digest = _digest(request, key)
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            user = signed_in_user(request)
            return idempotency.acquire(user, f"form:{digest}", digest, orphaned_after)
        except idempotency.InProgressError:
            if time.monotonic() > until:
                return None
            time.sleep(POLL_SECONDS)


def _digest(request: HttpRequest, key: str) -> str:
    fields = {
        name: values for name, values in request.POST.lists() if name != "csrfmiddlewaretoken"
    }
    files = {
        name: [(file.name, file.size) for file in files] for name, files in request.FILES.lists()
    }
    text = json.dumps([key, request.path, fields, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
