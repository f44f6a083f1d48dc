"""Typed values survive the end of a session and an outdated CSRF token."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from training.models import Dataset, Job, Project

FORMS = {
    "/jobs/new": {"name": "Typed name", "notes": "Typed\nnotes", "epochs": "abc"},
    "/sweeps/new": {"name": "Typed name", "vary_hidden": "16, 32", "base_epochs": "7"},
    "/projects/new": {"name": "Typed name", "description": "Typed text"},
    "/datasets": {"name": "Typed name", "samples": "77", "generate": ""},
}


def shown(html: str, typed: dict[str, str]) -> bool:
    values = (value for name, value in typed.items() if name != "generate")
    return all(f'value="{value}"' in html or f">\n{value}</textarea>" in html for value in values)


def hidden(html: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found, name
    return found[1].replace("&quot;", '"').replace("&amp;", "&").replace("&#x27;", "'")


PASSWORD = "ada-secret-1"


def sign_in(client: Client, html: str, password: str = PASSWORD) -> Any:
    fields = {name: hidden(html, name) for name in ("next", "draft") if f'name="{name}"' in html}
    return client.post("/login", {"username": "ada", "password": password, **fields})


@pytest.mark.parametrize("url", FORMS)
def test_values_typed_in_an_expired_session_are_restored_after_sign_in(
    client: Client, dataset: Dataset, url: str
) -> None:
    answer = client.post(url, FORMS[url])
    html = answer.content.decode()
    assert answer.status_code == 403
    assert "what you typed is kept" in html
    wrong = sign_in(client, html, "wrong").content.decode()
    answer = sign_in(client, wrong)
    assert (answer.status_code, answer["Location"]) == (302, url)
    assert shown(client.get(url).content.decode(), FORMS[url])
    assert not shown(client.get(url).content.decode(), FORMS[url])  # only once
    assert not Job.objects.exists() and not Project.objects.exists()


@pytest.mark.parametrize("url", FORMS)
def test_values_typed_before_a_sign_in_in_another_tab_are_restored(
    ada: User, dataset: Dataset, url: str
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    answer = strict.post(url, {**FORMS[url], "csrfmiddlewaretoken": "x" * 64})
    html = answer.content.decode()
    assert answer.status_code == 403
    assert shown(html, FORMS[url])
    assert "check it and submit it again" in html
    token = hidden(html, "csrfmiddlewaretoken")
    assert strict.post(url, {**FORMS[url], "csrfmiddlewaretoken": token}).status_code in (303, 400)


def test_notes_edited_in_an_expired_session_are_restored_after_sign_in(
    client: Client, job: Job
) -> None:
    url = f"/jobs/{job.pk}/edit"
    typed = {"name": "Renamed", "notes": "Typed\nnotes", "tags": "night"}
    sign_in(client, client.post(url, typed).content.decode())
    assert shown(client.get(url).content.decode(), typed)
    assert Job.objects.get().name != "Renamed"


def test_query_string_of_the_form_survives_the_sign_in(client: Client, dataset: Dataset) -> None:
    html = client.post("/jobs/new?preset=quick", {"name": "N"}).content.decode()
    assert sign_in(client, html)["Location"] == "/jobs/new?preset=quick"


@pytest.mark.parametrize("action", ["share", "pause", "resume"])
def test_button_pressed_in_an_expired_session_leads_back_to_its_page(
    client: Client, job: Job, action: str
) -> None:
    html = client.post(f"/jobs/{job.pk}/{action}", {"team": ""}).content.decode()
    answer = sign_in(client, html)
    assert answer["Location"] == f"/jobs/{job.pk}"
    assert client.get(answer["Location"]).status_code == 200
    assert Job.objects.get().status == "queued"


def test_button_with_an_outdated_token_explains_itself(ada: User, job: Job) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    answer = strict.post(f"/jobs/{job.pk}/cancel")
    html = answer.content.decode()
    assert answer.status_code == 403
    assert "This page was outdated" in html
    assert f'href="/jobs/{job.pk}/cancel"' in html
    assert Job.objects.get().status == "queued"


def test_outdated_sign_in_page_is_shown_again(client: Client, ada: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post("/login", {"username": "ada", "password": "ada-secret-1"})
    assert answer.status_code == 403
    assert 'name="password"' in answer.content.decode()


def test_passwords_and_tokens_are_not_stored(client: Client, ada: User) -> None:
    sent = {"name": "N", "password": "p-secret", "idempotency_key": "k-key"}
    html = client.post("/projects/new", sent).content.decode()
    draft = hidden(html, "draft")
    assert '"name"' in draft
    assert "p-secret" not in draft and "k-key" not in draft


def test_overlong_draft_is_dropped_and_the_sign_in_still_works(client: Client, ada: User) -> None:
    html = client.post("/projects/new", {"name": "N" * 300_000}).content.decode()
    assert 'name="draft"' not in html
    assert sign_in(client, html)["Location"] == "/projects/new"


@pytest.mark.parametrize(
    "draft",
    [
        "{",
        "[]",
        '{"path": 1, "fields": {}}',
        '{"path": "/jobs/new"}',
        '{"path": "/projects/new", "fields": {"name": [1]}}',
    ],
)
def test_forged_draft_is_ignored(client: Client, ada: User, draft: str) -> None:
    client.post("/login", {"username": "ada", "password": "ada-secret-1", "draft": draft})
    assert client.get("/projects/new").status_code == 200
