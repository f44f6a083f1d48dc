"""Slots of a limit that a response occupies while it is sent."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from django.contrib.auth.models import User
from django.http.response import HttpResponseBase

from training.accounts.limits import DOWNLOADS, Hold

SMALL_BYTES = 1024 * 1024


def release_after(response: HttpResponseBase, release: Callable[[], None]) -> None:
    """Call `release` when the response is closed, or dropped because its client has left."""
    response._resource_closers.append(release)  # type: ignore[attr-defined]  # noqa: SLF001
    weakref.finalize(response, release)


def count_download(user: User, response: HttpResponseBase) -> HttpResponseBase:
    """Count the response as one of the user's downloads; Raises LimitReachedError at the limit.

    A small body, such as an image of a page, fits into buffers and is not worth counting.
    """
    size = response.headers.get("Content-Length")
    if response.streaming and (size is None or int(size) > SMALL_BYTES):
        held = Hold(user, DOWNLOADS)
        release_after(response, held.release)
    return response
