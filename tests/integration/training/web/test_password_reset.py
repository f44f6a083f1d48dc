"""Resetting a forgotten password by e-mail."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from tests.polling import eventually
from training.accounts import tokens
from training.models import UserSession

NEW = "quite-another-1"
pytestmark = pytest.mark.django_db


@pytest.fixture
def sends(settings: Any, ada: User) -> User:
    settings.SENDS_EMAIL = True
    ada.email = "ada@example.org"
    ada.save()
    return ada


def request_reset(client: Client, email: str) -> str:
    answer = client.post("/password-reset", {"email": email}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_user_sets_a_new_password_by_a_link(client: Client, sends: User) -> None:
    _, token = tokens.create_token(sends)
    other = Client()
    other.force_login(sends)
    assert "Forgot your password?" in client.get("/login").content.decode()
    request_reset(client, "ada@example.org")
    (message,) = eventually(lambda: list(mail.outbox))
    assert message.to == ["ada@example.org"]
    link = re.search(r"http://testserver(/password-reset/\S+)", str(message.body))
    assert link is not None
    form = client.get(link.group(1), follow=True)
    assert "Referrer-Policy" in form.headers
    path = form.redirect_chain[-1][0]
    sent = {"new_password1": NEW, "new_password2": NEW, "revoke_tokens": "on"}
    done = client.post(path, sent, follow=True)
    assert "Password changed. Sign in with the new one." in done.content.decode()
    sends.refresh_from_db()
    assert sends.check_password(NEW)
    assert tokens.authenticate(token) is None
    assert not UserSession.objects.filter(user=sends).exists()
    assert "Link expired" in client.get(link.group(1), follow=True).content.decode()


def test_response_does_not_reveal_whether_there_is_an_account(client: Client, sends: User) -> None:
    first, second = (request_reset(client, f"{name}@example.org") for name in ("ada", "nobody"))
    assert re.sub("csrf.*", "", first) == re.sub("csrf.*", "", second)
    assert len(eventually(lambda: list(mail.outbox))) == 1


def test_account_gets_at_most_one_reset_mail_a_minute(client: Client, sends: User) -> None:
    for _ in range(5):
        request_reset(client, "ada@example.org")
    assert len(eventually(lambda: list(mail.outbox))) == 1


def test_requests_share_the_limit_of_sign_ins(client: Client, sends: User, settings: Any) -> None:
    settings.SIGN_INS_PER_MINUTE = 1
    request_reset(client, "nobody@example.org")
    answer = client.post("/password-reset", {"email": "ada@example.org"})
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60


def test_password_reset_is_unavailable_without_a_mail_server(client: Client, ada: User) -> None:
    assert "password-reset" not in client.get("/login").content.decode()
    assert client.get("/password-reset").status_code == 404
    assert client.get("/password-reset/MQ/x-y").status_code == 404
