from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.jobs import claim_job
from training.jobs import lifecycle, reports, results
from training.localization.config import TrainConfig
from training.models import Dataset, Job
from training.models.states import Status

JOBS = "/admin/training/job/"


@pytest.fixture
def staff_client(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def jobs(ada: User, dataset: Dataset) -> list[Job]:
    return [lifecycle.submit(ada, dataset, TrainConfig(), name) for name in ("One", "Two")]


def perform(staff_client: Client, action: str, jobs: list[Job]) -> str:
    chosen = {"action": action, "_selected_action": [str(job.pk) for job in jobs]}
    return staff_client.post(JOBS, chosen, follow=True).content.decode()


def states(jobs: list[Job]) -> list[str]:
    return [Job.objects.get(pk=job.pk).status for job in jobs]


def test_jobs_and_datasets_are_listed_and_filtered(staff_client: Client, jobs: list[Job]) -> None:
    assert "One" in staff_client.get(f"{JOBS}?status__exact=queued").content.decode()
    assert "One" not in staff_client.get(f"{JOBS}?status__exact=failed").content.decode()
    assert "Small" in staff_client.get("/admin/training/dataset/").content.decode()
    assert staff_client.get(f"{JOBS}{jobs[0].pk}/change/").status_code == 200


def test_actions_change_status_and_record_events(staff_client: Client, jobs: list[Job]) -> None:
    messages = perform(staff_client, "pause", jobs)
    assert "One: Pause requested." in messages
    assert "Two: Pause requested." in messages
    assert states(jobs) == [Status.PAUSED] * 2
    assert "One: Queued to resume from the last checkpoint." in perform(
        staff_client, "resume", jobs[:1]
    )
    assert "Two: Cancellation requested." in perform(staff_client, "cancel", jobs)
    assert states(jobs) == [Status.CANCELLED] * 2
    assert [job.events.count() for job in jobs] == [6, 5]


def test_action_not_allowed_in_the_status_warns_per_job(
    staff_client: Client, jobs: list[Job]
) -> None:
    lifecycle.request_cancel(jobs[0], "ada")
    messages = perform(staff_client, "pause", jobs)
    assert "One: Cannot pause this job: it is cancelled." in messages
    assert "Two: Pause requested." in messages


def test_change_and_delete_views_are_forbidden(staff_client: Client, jobs: list[Job]) -> None:
    assert (
        staff_client.post(f"{JOBS}{jobs[0].pk}/change/", {"status": "completed"}).status_code == 403
    )
    assert staff_client.post(f"{JOBS}{jobs[0].pk}/delete/", {"post": "yes"}).status_code == 403
    assert states(jobs) == [Status.QUEUED] * 2


def test_requeue_takes_a_running_job_from_its_worker(staff_client: Client, jobs: list[Job]) -> None:
    attempt = claim_job(jobs[0])
    lifecycle.request_cancel(jobs[1], "ada")
    messages = perform(staff_client, "requeue", jobs)
    assert "One: Requeued." in messages
    assert "Two: Cannot resume this job: it is cancelled." in messages
    assert states(jobs) == [Status.QUEUED, Status.CANCELLED]
    assert jobs[0].events.latest("seq").data["reason"] == "Requeued by grace."
    assert attempt.change() is None


def test_reported_job_with_any_configuration_is_shown(staff_client: Client, ada: User) -> None:
    """A text in `samples` was formatted as the length of a generated dataset: status 500."""
    config = {"samples": "many", "patience": "long", "epochs": [1], "receivers": {"a": None}}
    job = reports.register(ada, reports.NewReport(name="Elsewhere", config=config), None, None)
    rows = staff_client.get(JOBS).content.decode()
    assert '<span data-field="epoch">0</span> <span data-field="percent"></span>' in rows
    shown = staff_client.get(f"{JOBS}{job.pk}/change/").content.decode()
    assert "<li>receivers <b>{&quot;a&quot;: null}</b></li>" in shown
    for url in (f"/jobs/{job.pk}", "/jobs", f"/compare?job={job.pk}&job={job.pk}"):
        assert staff_client.get(url).status_code == 200, url


def test_admin_form_creates_a_job_or_shows_errors(
    staff_client: Client, staff: User, dataset: Dataset
) -> None:
    page = staff_client.get(f"{JOBS}add/")
    assert "Peak learning rate of AdamW" in page.content.decode()
    form = page.context["form"]
    values = {name: form[name].initial for name in form.fields if form[name].initial is not None}
    sent = {**values, "dataset": dataset.pk, "name": "From the admin"}
    refused = staff_client.post(f"{JOBS}add/", {**sent, "epochs": 0})
    assert refused.status_code == 400
    html = refused.content.decode()
    assert "breadcrumbs" in html
    assert "0 is too small; it must be at least 1." in html
    assert 'value="From the admin"' in html
    assert not Job.objects.exists()
    taken = staff_client.post(f"{JOBS}add/", {**sent, "epochs": 3})
    assert (taken.status_code, taken["Location"]) == (303, f"/jobs/{Job.objects.get().pk}")


def test_index_page_shows_counts(staff_client: Client, jobs: list[Job]) -> None:
    attempt = claim_job(jobs[0])
    results.fail_attempt(attempt, "It broke.")
    html = re.sub(r"<[^>]+>|\s+", " ", staff_client.get("/admin/").content.decode())
    html = re.sub(r" +", " ", html)
    for card in ("0 running", "1 queued", "1 failed (last 24 h)", "0 workers offline"):
        assert card in html


def test_delete_action_skips_unfinished_jobs(staff_client: Client, jobs: list[Job]) -> None:
    lifecycle.request_cancel(jobs[0], "ada")
    messages = perform(staff_client, "delete_inactive", jobs)
    assert "Cannot delete this job: it is queued" in messages
    assert Job.objects.count() == 1


def test_password_is_not_changed_in_the_admin(staff_client: Client) -> None:
    """Django's form there checks the present password as often as it is asked."""
    answer = staff_client.post("/admin/password_change/", {"old_password": "guess"})
    assert (answer.status_code, answer["Location"]) == (302, "/account")


def test_only_superusers_give_permissions_to_teams(client: Client, ada: User) -> None:
    ada.is_staff = True
    ada.save()
    ada.user_permissions.set(Permission.objects.filter(codename__in=("change_group", "view_group")))
    team = Group.objects.create(name="lab")
    client.force_login(ada)
    url = f"/admin/auth/group/{team.pk}/change/"
    assert 'name="permissions"' not in client.get(url).content.decode()
    every = list(Permission.objects.values_list("pk", flat=True))
    assert client.post(url, {"name": "laboratory", "permissions": every}).status_code == 302
    assert Group.objects.get().name == "laboratory" and not Group.objects.get().permissions.exists()
    User.objects.update(is_superuser=True)
    assert 'name="permissions"' in client.get(url).content.decode()


def test_admin_redirects_non_staff_users(client: Client, ada: User) -> None:
    client.force_login(ada)
    assert client.get(JOBS).status_code == 302


def test_filters_have_plain_titles(staff_client: Client, jobs: list[Job]) -> None:
    titles = re.findall(r"By ([\w ]+?)\s*</summary>", staff_client.get(JOBS).content.decode())
    assert "requested action" in titles
    assert "creation time" in titles
    assert not {"stop requested", "created at"} & set(titles)


@pytest.mark.usefixtures("no_rate_limits")
def test_queries_and_size_of_the_job_list_do_not_grow(
    staff_client: Client, ada: User, dataset: Dataset
) -> None:
    found = []
    for _ in range(2):
        Job.objects.bulk_create(
            Job(owner=ada, dataset=dataset, name=f"Job {number}", updated_at=timezone.now())
            for number in range(60)
        )
        Dataset.objects.bulk_create(
            Dataset(owner=ada, name=f"Set {number}", kind="synthetic") for number in range(100)
        )
        for query in ("", "?q=job", "?status__exact=queued"):
            with CaptureQueriesContext(connection) as queries:
                shown = staff_client.get(f"{JOBS}{query}")
            found.append((query, len(queries), round(len(shown.content), -4)))
    assert found[:3] == found[3:]
