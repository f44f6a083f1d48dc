"""The account page: password, e-mail, sessions and tokens of a user."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from realtime.connections import Credential
from training.accounts import tokens
from training.events.store import DatabaseEventStore
from training.models import ApiToken, AuditEntry, UserSession

PASSWORD = "ada-secret-1"
NEW = "quite-another-1"
CHANGE = {"old_password": "ada-secret-1", "new_password1": NEW, "new_password2": NEW}


def signed_in(user: User, password: str = PASSWORD, **headers: str) -> Client:
    client = Client(headers=headers)
    answer = client.post("/login", {"username": user.username, "password": password})
    assert answer.status_code == 302, answer.content
    return client


def test_user_changes_the_password_and_stays_signed_in(ada: User) -> None:
    here, there = signed_in(ada), signed_in(ada)
    answer = here.post("/account/password", CHANGE, follow=True)
    assert "Password changed. You are signed out everywhere else." in answer.content.decode()
    assert here.get("/jobs").status_code == 200
    assert there.get("/jobs").status_code == 302
    signed_in(ada, NEW)
    entry = AuditEntry.objects.filter(action="password set").latest("pk")
    assert (entry.actor, entry.detail) == ("ada", {"of": "ada"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"old_password": "guess"}, "This is not your current password."),
        ({"new_password2": "different-1"}, "didn’t match"),
        ({"new_password1": "short", "new_password2": "short"}, "too short"),
    ],
)
def test_wrong_or_weak_password_changes_nothing(
    page: Client, ada: User, change: dict[str, str], message: str
) -> None:
    answer = page.post("/account/password", {**CHANGE, **change})
    assert answer.status_code == 400
    assert message in answer.content.decode()
    ada.refresh_from_db()
    assert ada.check_password("ada-secret-1")


def test_password_guesses_with_a_session_are_limited(page: Client) -> None:
    for _ in range(6):
        page.post("/account/password", {**CHANGE, "old_password": "guess"})
    answer = page.post("/account/password", CHANGE)
    assert answer.status_code == 400
    assert "Too many failed sign-ins for this account" in answer.content.decode()


@pytest.mark.parametrize("asked", [True, False])
def test_tokens_are_revoked_with_a_password_change_if_requested(ada: User, asked: bool) -> None:
    _, token = tokens.create_token(ada, "laptop")
    client = signed_in(ada)
    client.post("/account/password", {**CHANGE, **({"revoke_tokens": "on"} if asked else {})})
    assert (tokens.authenticate(token) is None) == asked
    assert AuditEntry.objects.filter(action="token revoked").exists() == asked


def test_connections_of_an_earlier_password_are_not_valid(ada: User) -> None:
    client = signed_in(ada)
    opened = Credential(ada.pk, session=client.session.session_key or "")
    store = DatabaseEventStore()
    assert store.valid_credentials([opened]) == {opened}
    # As `manage.py changepassword` and the admin do it.
    ada.set_password(NEW)
    ada.save()
    assert store.valid_credentials([opened]) == set()


def test_sessions_are_listed_and_ended(ada: User) -> None:
    here = signed_in(ada)
    there = signed_in(ada, **{"User-Agent": "Phone <b>"})
    shown = here.get("/account").content.decode()
    assert "Phone &lt;b&gt;" in shown
    assert shown.count("(this one)") == 1
    for key in UserSession.objects.values_list("session_key", flat=True):
        assert key not in shown
    (end,) = set(re.findall(r"/account/sessions/[0-9a-f]{20}/end", shown))
    here.post(end)
    assert there.get("/jobs").status_code == 302
    assert here.get("/jobs").status_code == 200
    assert AuditEntry.objects.filter(action="session ended", actor="ada").exists()


def test_user_signs_out_everywhere_else(ada: User) -> None:
    here, others = signed_in(ada), [signed_in(ada) for _ in range(2)]
    here.post("/account/sessions/end")
    assert here.get("/jobs").status_code == 200
    assert [other.get("/jobs").status_code for other in others] == [302, 302]


def test_sessions_of_others_cannot_be_ended(ada: User, bob: User) -> None:
    ours, theirs = signed_in(ada), signed_in(bob, "bob-secret-1")
    signed_in(bob, "bob-secret-1")
    shown = theirs.get("/account").content.decode()
    (end,) = re.findall(r"/account/sessions/[0-9a-f]{20}/end", shown)
    ours.post(end)
    assert UserSession.objects.filter(user=bob).count() == 2


def test_token_is_created_on_the_page_shown_once_and_works(page: Client, ada: User) -> None:
    sent = {"name": "notebook", "days": "7", "scopes": ["read"]}
    answer = page.post("/account/tokens", sent)
    found = re.search(r"<code data-token>(.+?)</code>", answer.content.decode())
    assert found is not None
    assert "no-store" in answer["Cache-Control"]
    token = found.group(1)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert client.get("/api/v1/training/jobs").status_code == 200
    assert client.post("/api/v1/training/jobs", {}, format="json").status_code == 403
    listed = page.get("/account").content.decode()
    assert "notebook" in listed and token not in listed
    page.post(f"/account/tokens/{ApiToken.objects.get().pk}/revoke")
    assert client.get("/api/v1/training/jobs").status_code == 401


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"days": "31"}, "31 is too large; it must be at most 30."),
        ({"days": "soon"}, "is not a whole number."),
        ({"scopes": []}, "This field is required."),
        ({"scopes": ["admin"]}, "admin is not one of the available choices."),
        ({"name": "n" * 101}, "at most 100 allowed"),
    ],
)
def test_token_form_shows_its_errors(
    page: Client, settings: Any, change: dict[str, object], message: str
) -> None:
    settings.TOKEN_MAX_DAYS = 30
    answer = page.post("/account/tokens", {"name": "a", "days": "7", "scopes": ["read"], **change})
    assert answer.status_code == 400
    assert message in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_only_staff_are_offered_the_scope_admin(page: Client, staff: User) -> None:
    assert 'value="admin"' not in page.get("/account").content.decode()
    client = Client()
    client.force_login(staff)
    assert 'value="admin"' in client.get("/account").content.decode()


def test_changing_the_email_address_needs_the_password(page: Client, ada: User) -> None:
    sent = {"email": "ada@example.org", "password": "guess"}
    assert page.post("/account/email", sent).status_code == 400
    page.post("/account/email", {**sent, "password": "ada-secret-1"})
    ada.refresh_from_db()
    assert ada.email == "ada@example.org"


@pytest.mark.parametrize(
    "path", ["password", "email", "tokens", "sessions/end", "tokens/1/revoke", "sessions/x/end"]
)
def test_action_urls_opened_with_get_redirect_to_the_account_page(page: Client, path: str) -> None:
    answer = page.get(f"/account/{path}")
    assert (answer.status_code, answer["Location"]) == (303, "/account")


def test_account_needs_a_session(client: Client, db: None) -> None:
    assert client.get("/account").status_code == 302
