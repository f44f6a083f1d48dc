"""Requests to a slow OpenID Connect provider."""

from __future__ import annotations

import io
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.db import connection

from heimdall.oidc_session import (
    MAX_CALLS,
    ProviderBusyError,
    ProviderSession,
    UnprotectedUrlError,
)

URL = "https://idp.example.org"


@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_held_while_waiting_for_the_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(*_: Any, **named: Any) -> requests.Response:
        assert connection.connection is None
        assert named["timeout"] > 0
        return requests.Response()

    monkeypatch.setattr(requests.Session, "request", answer)
    assert not User.objects.exists()
    assert connection.connection is not None
    ProviderSession().get(URL)


def test_requests_beyond_the_waiting_limit_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[str] = []

    def wait(session: ProviderSession, *_: Any, **__: Any) -> requests.Response:
        waiting.append(URL)
        return session.get(URL)

    monkeypatch.setattr(requests.Session, "request", wait)
    for _ in range(2):  # those that ended count no longer
        waiting.clear()
        with pytest.raises(ProviderBusyError):
            ProviderSession().get(URL)
        assert len(waiting) == MAX_CALLS


def test_only_https_leaves_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def redirect(_: Any, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        sent.append(str(request.url))
        response = requests.Response()
        response.status_code, response.url, response.request = 302, sent[-1], request
        response.headers["Location"] = "http://idp.example.org/elsewhere"
        response.raw = io.BytesIO()
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", redirect)
    for url in ("http://idp.example.org/keys", "http://localhost.example.org/keys"):
        with pytest.raises(UnprotectedUrlError):
            ProviderSession().get(url)
    assert sent == []
    for url in (f"{URL}/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys"):
        with pytest.raises(UnprotectedUrlError, match=r"http://idp\.example\.org"):
            ProviderSession().get(url)
        assert sent.pop() == url
