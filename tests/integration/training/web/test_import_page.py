"""The page that explains how to import runs of other tools."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from training.jobs import reports
from training.models import Project

pytestmark = pytest.mark.django_db


def test_page_names_the_address_of_this_server(page: Client) -> None:
    answer = page.get("/jobs/import", headers={"host": "testserver"})
    html = answer.content.decode()
    assert "heimdall login http://testserver</pre>" in html
    assert "No imported jobs yet." in html
    assert 'href="/jobs/import"' in page.get("/jobs").content.decode()


def test_imported_jobs_are_listed_and_others_are_not(page: Client, ada: User, bob: User) -> None:
    project = Project.objects.create(owner=ada, name="Digits")
    for owner, name, external_id in (
        (ada, "From MLflow", "import:mlflow:1"), (ada, "From a script", ""),
        (bob, "Of bob", "import:mlflow:2"),
    ):  # fmt: skip
        report, place = reports.NewReport(name=name), project if owner == ada else None
        reports.register(owner, report, place, None, external_id=external_id)
    html = page.get("/jobs/import").content.decode()
    assert "From MLflow" in html
    assert f'href="/projects/{project.pk}"' in html
    assert "From a script" not in html
    assert "Of bob" not in html


def test_anonymous_user_is_redirected_to_the_sign_in_page(client: Client) -> None:
    assert client.get("/jobs/import").headers["Location"].startswith("/login")
