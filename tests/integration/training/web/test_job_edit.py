"""The form that changes a job's name, notes and tags."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.jobs import claim_job
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    return lifecycle.submit(
        ada, dataset, TrainConfig(), "First", notes="Does it learn?", tags=["hills", "night"]
    )


def words(job: Job) -> tuple[str, str, list[str]]:
    job.refresh_from_db()
    return job.name, job.notes, job.tags


def test_edit_form_shows_and_saves_metadata(page: Client, job: Job) -> None:
    address = f"/jobs/{job.pk}"
    assert f'href="{address}/edit"' in page.get(address).content.decode()
    html = page.get(f"{address}/edit").content.decode()
    assert 'value="First"' in html
    assert 'value="hills, night"' in html
    assert "Does it learn?" in html
    sent = {"name": "Second", "notes": "It does.", "tags": "night, , day,night"}
    assert page.post(f"{address}/edit", sent)["Location"] == address
    assert words(job) == ("Second", "It does.", ["night", "day"])
    assert "Saved." in page.get(address).content.decode()


def test_invalid_metadata_shows_field_errors_and_saves_nothing(page: Client, job: Job) -> None:
    before = words(job)
    sent = {"name": "n" * 201, "notes": "", "tags": f"short,{'t' * 51}"}
    answer = page.post(f"/jobs/{job.pk}/edit", sent)
    html = answer.content.decode()
    assert answer.status_code == 400
    assert "Too long (201 characters); at most 200 allowed." in html
    assert f"“{'t' * 51}”: Too long (51 characters); at most 50 allowed." in html
    assert f'value="short,{"t" * 51}"' in html, "what was typed is kept"
    assert words(job) == before


def test_each_invalid_tag_has_its_own_error(page: Client, job: Job) -> None:
    sent = {"name": "First", "notes": "", "tags": f"{'s' * 51},{'t' * 52}"}
    answer = page.post(f"/jobs/{job.pk}/edit", sent)
    html = answer.content.decode()
    assert answer.status_code == 400
    assert f"“{'s' * 51}”: Too long (51 characters)" in html
    assert f"“{'t' * 52}”: Too long (52 characters)" in html


def test_edit_page_of_another_users_job_is_404(page: Client, bob: User, job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(owner=bob)
    assert page.get(f"/jobs/{job.pk}/edit").status_code == 404
    assert page.post(f"/jobs/{job.pk}/edit", {"name": "Mine"}).status_code == 404


def test_priority_of_a_job_that_started_meanwhile_is_an_error_of_its_field(
    page: Client, job: Job
) -> None:
    before = words(job)
    claim_job(job)
    sent = {"name": "Second", "notes": "", "tags": "", "priority": "-3"}
    answer = page.post(f"/jobs/{job.pk}/edit", sent)
    assert answer.status_code == 400
    assert answer.context["form"].errors == {
        "priority": ["Cannot change the priority of this job: it is running."]
    }
    html = answer.content.decode()
    assert "it is running." in html and 'value="-3"' in html and 'value="Second"' in html
    assert words(job) == before
    unchanged = page.post(f"/jobs/{job.pk}/edit", {**sent, "priority": "0"})
    assert unchanged.status_code == 303
    assert words(job)[0] == "Second"
