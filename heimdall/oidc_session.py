"""Requests to the OpenID Connect provider, while a user waits."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

import requests

from heimdall.env import is_protected
from training.request_thread import release_database

TIMEOUT_SECONDS = 5
# Each request that waits for a slow provider takes one of the web process's threads.
MAX_CALLS = 8
_calls = threading.BoundedSemaphore(MAX_CALLS)


class ProviderBusyError(requests.RequestException):
    """Too many sign-ins wait for the provider."""


class UnprotectedUrlError(requests.RequestException):
    """A request to the provider would leave this machine without TLS."""


class ProviderSession(requests.Session):
    """Holds no connection to the database while it waits, and bounds how many requests wait.

    Requests that leave the machine use HTTPS: who could answer them could sign in as any user.
    """

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        if not _calls.acquire(blocking=False):
            raise ProviderBusyError(f"{MAX_CALLS} requests wait for the provider")
        try:
            release_database()
            return super().request(*args, **{"timeout": TIMEOUT_SECONDS, **kwargs})
        finally:
            _calls.release()

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        # Redirects come here too, and the provider itself names the URLs of tokens and keys.
        parts = urlsplit(str(request.url))
        if not is_protected(parts):
            raise UnprotectedUrlError(f"{parts.scheme}://{parts.hostname} is not encrypted")
        return super().send(request, **kwargs)
