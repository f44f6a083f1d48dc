"""Requests to an OpenID Connect provider that is slow."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.db import connection

from heimdall.oidc_session import MAX_CALLS, ProviderBusyError, ProviderSession

URL = "https://idp.example.org"


@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_held_while_the_provider_is_waited_for(
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


def test_requests_beyond_those_that_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
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
