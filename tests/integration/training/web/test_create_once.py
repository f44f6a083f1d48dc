"""A form creates one object, however often it is submitted."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from tests.integration.training.api.test_datasets import TABLES
from tests.integration.training.web.test_views import packed
from training.models import ApiToken, Dataset, IdempotencyKey, Job, Project, Sweep
from training.web import create_once


def form_of(page: Client, url: str, context: str = "form", **typed: Any) -> dict[str, Any]:
    """What the browser sends: the key of this form and the values that it shows."""
    answer = page.get(url)
    key = re.search(r'name="idempotency_key" value="(\w+)"', answer.content.decode())
    assert key
    form = answer.context[context]
    values = {field.html_name: field.value() for field in form}
    shown = {
        name: value for name, value in values.items() if value is not None and value is not False
    }
    return {**shown, "idempotency_key": key[1], **typed}


def test_job_form_submitted_twice_creates_one_job(page: Client, dataset: Dataset) -> None:
    sent = form_of(page, "/jobs/new", dataset=dataset.pk, name="Twice")
    answers = [page.post("/jobs/new", sent) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [303] * 3
    assert {answer["Location"] for answer in answers} == {f"/jobs/{Job.objects.get().pk}"}


def test_two_forms_with_the_same_values_create_two_jobs(page: Client, dataset: Dataset) -> None:
    for _ in range(2):
        page.post("/jobs/new", form_of(page, "/jobs/new", dataset=dataset.pk, name="Same"))
    assert Job.objects.filter(name="Same").count() == 2


def test_form_changed_after_the_back_button_creates_another_job(
    page: Client, dataset: Dataset
) -> None:
    sent = form_of(page, "/jobs/new", dataset=dataset.pk, name="One")
    page.post("/jobs/new", sent)
    page.post("/jobs/new", {**sent, "name": "Two"})
    assert {job.name for job in Job.objects.all()} == {"One", "Two"}


def test_form_with_an_error_can_be_resubmitted(page: Client, dataset: Dataset) -> None:
    sent = form_of(page, "/jobs/new", dataset=dataset.pk)
    assert page.post("/jobs/new", {**sent, "epochs": 0}).status_code == 400
    assert page.post("/jobs/new", {**sent, "epochs": 2}).status_code == 303


def test_dataset_forms_submitted_twice_create_one_dataset(page: Client) -> None:
    sent = form_of(page, "/datasets", "generate_form", name="Made", samples=50, generate="")
    assert len({page.post("/datasets", sent)["Location"] for _ in range(2)}) == 1
    assert Job.objects.count() == 1
    sent = form_of(page, "/datasets", "import_form", name="Measured")
    sent["import"] = ""
    places = "".join(f"s{n},45.{n},7.{n}\n" for n in range(10, 70))
    heard = "".join(f"s{n},hill,-70\n" for n in range(10, 70))
    tables = {**TABLES, "samples.csv": f"sample_id,lat,lon\n{places}",
              "measurements.csv": f"sample_id,receiver_id,rssi_dbm\n{heard}"}  # fmt: skip
    content = packed(tables).getvalue()
    answers = [
        page.post("/datasets", {**sent, "file": SimpleUploadedFile("m.zip", content)})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert Dataset.objects.filter(name="Measured").count() == 1


def test_sweep_form_submitted_twice_creates_one_sweep(page: Client, dataset: Dataset) -> None:
    sent = form_of(page, "/sweeps/new", dataset=dataset.pk, name="S", vary_hidden="16, 32")
    assert len({page.post("/sweeps/new", sent)["Location"] for _ in range(2)}) == 1
    assert Sweep.objects.count() == 1


def test_project_form_submitted_twice_redirects_to_the_project(page: Client, ada: User) -> None:
    sent = form_of(page, "/projects/new", name="Radio")
    answers = [page.post("/projects/new", sent) for _ in range(2)]
    assert {answer["Location"] for answer in answers} == {f"/projects/{Project.objects.get().pk}"}
    again = form_of(page, "/projects/new", name="Radio")
    assert page.post("/projects/new", again).status_code == 400


def test_quick_training_clicked_twice_starts_one_job(page: Client, dataset: Dataset) -> None:
    key = re.search(r'name="idempotency_key" value="(\w+)"', page.get("/jobs").content.decode())
    assert key
    for _ in range(2):
        page.post("/jobs/first", {"idempotency_key": key[1]})
    assert Job.objects.count() == 1


def test_admin_form_submitted_twice_creates_one_job(
    client: Client, staff: User, dataset: Dataset
) -> None:
    client.force_login(staff)
    sent = form_of(client, "/admin/training/job/add/", dataset=dataset.pk, name="By staff")
    assert len({client.post("/admin/training/job/add/", sent)["Location"] for _ in range(2)}) == 1
    assert Job.objects.count() == 1


def test_same_key_of_two_users_does_not_conflict(
    page: Client, ada: User, bob: User, dataset: Dataset
) -> None:
    other = Client()
    other.force_login(bob)
    for client in (page, other):
        client.post("/projects/new", {"name": "Same", "idempotency_key": "k"})
    assert Project.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_time_create_one_job(page: Client, dataset: Dataset) -> None:
    sent = form_of(page, "/jobs/new", dataset=dataset.pk, name="Clicked")
    locations: list[str] = []

    def click() -> None:
        client = Client()
        client.cookies = page.cookies
        locations.append(client.post("/jobs/new", sent)["Location"])
        connection.close()

    clicks = [threading.Thread(target=click) for _ in range(4)]
    for thread in clicks:
        thread.start()
    for thread in clicks:
        thread.join()
    assert set(locations) == {f"/jobs/{Job.objects.get().pk}"}
    assert len(locations) == 4


def test_repeated_submission_of_a_form_in_progress_redirects_to_the_list(
    page: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = form_of(page, "/jobs/new", dataset=dataset.pk, name="Slow")
    page.post("/jobs/new", sent)
    IdempotencyKey.objects.update(status=None)
    monkeypatch.setattr(create_once, "WAIT_SECONDS", 0.2)
    answer = page.post("/jobs/new", sent, follow=True)
    assert answer.redirect_chain == [("/jobs", 303)]
    assert "is being processed" in answer.content.decode()
    assert Job.objects.count() == 1


def test_token_form_submitted_twice_creates_one_token(page: Client) -> None:
    sent = form_of(page, "/account", "token_form", name="Script")
    first, second = (page.post("/account/tokens", sent) for _ in range(2))
    assert first.status_code == 200
    assert second.status_code == 303
    assert ApiToken.objects.count() == 1
