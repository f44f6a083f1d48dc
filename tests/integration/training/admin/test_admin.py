from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.jobs import claim_job
from training.jobs import lifecycle, results
from training.localization.config import TrainConfig
from training.models import Dataset, Job
from training.models.states import Status

JOBS = "/admin/training/job/"


@pytest.fixture
def desk(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def jobs(ada: User, dataset: Dataset) -> list[Job]:
    return [lifecycle.submit(ada, dataset, TrainConfig(), name) for name in ("One", "Two")]


def do(desk: Client, action: str, jobs: list[Job]) -> str:
    chosen = {"action": action, "_selected_action": [str(job.pk) for job in jobs]}
    return desk.post(JOBS, chosen, follow=True).content.decode()


def states(jobs: list[Job]) -> list[str]:
    return [Job.objects.get(pk=job.pk).status for job in jobs]


def test_jobs_and_datasets_are_listed_and_filtered(desk: Client, jobs: list[Job]) -> None:
    assert "One" in desk.get(f"{JOBS}?status__exact=queued").content.decode()
    assert "One" not in desk.get(f"{JOBS}?status__exact=failed").content.decode()
    assert "Small" in desk.get("/admin/training/dataset/").content.decode()
    assert desk.get(f"{JOBS}{jobs[0].pk}/change/").status_code == 200


def test_the_actions_go_through_lifecycle(desk: Client, jobs: list[Job]) -> None:
    told = do(desk, "pause", jobs)
    assert "One: Pause requested." in told
    assert "Two: Pause requested." in told
    assert states(jobs) == [Status.PAUSED] * 2
    assert "One: Queued to resume from the last checkpoint." in do(desk, "resume", jobs[:1])
    assert "Two: Cancellation requested." in do(desk, "cancel", jobs)
    assert states(jobs) == [Status.CANCELLED] * 2
    assert [job.events.count() for job in jobs] == [6, 5]


def test_what_a_state_forbids_is_said_for_each_job(desk: Client, jobs: list[Job]) -> None:
    lifecycle.request_cancel(jobs[0], "ada")
    told = do(desk, "pause", jobs)
    assert "One: Cannot pause this job: it is cancelled." in told
    assert "Two: Pause requested." in told


def test_nothing_can_be_edited_past_lifecycle(desk: Client, jobs: list[Job]) -> None:
    assert desk.post(f"{JOBS}{jobs[0].pk}/change/", {"status": "completed"}).status_code == 403
    assert desk.post(f"{JOBS}{jobs[0].pk}/delete/", {"post": "yes"}).status_code == 403
    assert states(jobs) == [Status.QUEUED] * 2


def test_a_running_job_is_taken_from_its_worker_and_queued_again(
    desk: Client, jobs: list[Job]
) -> None:
    attempt = claim_job(jobs[0])
    lifecycle.request_cancel(jobs[1], "ada")
    told = do(desk, "requeue", jobs)
    assert "One: Requeued." in told
    assert "Two: Cannot resume this job: it is cancelled." in told
    assert states(jobs) == [Status.QUEUED, Status.CANCELLED]
    assert jobs[0].events.latest("seq").data["reason"] == "Requeued by grace."
    assert attempt.change() is None


def test_a_training_is_launched_from_the_desk(desk: Client, staff: User, dataset: Dataset) -> None:
    page = desk.get(f"{JOBS}add/")
    assert "Peak step size of AdamW" in page.content.decode()
    form = page.context["form"]
    values = {name: form[name].initial for name in form.fields if form[name].initial is not None}
    sent = {**values, "dataset": dataset.pk, "name": "From the desk"}
    refused = desk.post(f"{JOBS}add/", {**sent, "epochs": 0})
    assert refused.status_code == 400
    html = refused.content.decode()
    assert "breadcrumbs" in html  # still the desk
    assert "greater than or equal to 1" in html
    assert 'value="From the desk"' in html
    assert not Job.objects.exists()
    taken = desk.post(f"{JOBS}add/", {**sent, "epochs": 3})
    assert (taken.status_code, taken["Location"]) == (303, f"/jobs/{Job.objects.get().pk}")


def test_the_first_page_counts_what_matters(desk: Client, jobs: list[Job]) -> None:
    attempt = claim_job(jobs[0])
    results.fail_attempt(attempt, "It broke.")
    html = re.sub(r"<[^>]+>|\s+", " ", desk.get("/admin/").content.decode())
    html = re.sub(r" +", " ", html)
    for card in ("0 running", "1 queued", "1 failed in 24 h", "0 workers lost"):
        assert card in html


def test_jobs_at_rest_can_be_forgotten(desk: Client, jobs: list[Job]) -> None:
    lifecycle.request_cancel(jobs[0], "ada")
    told = do(desk, "delete_at_rest", jobs)
    assert "Cannot delete this job: it is queued" in told
    assert Job.objects.count() == 1


def test_only_staff_gets_in(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.get(JOBS).status_code == 302
