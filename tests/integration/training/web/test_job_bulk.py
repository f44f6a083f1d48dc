"""Actions on several jobs of the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.test import Client

from tests.jobs import claim_job, reload
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job


@pytest.fixture
def jobs(ada: User, dataset: Dataset) -> list[Job]:
    """One queued, one running and one cancelled."""
    queued, running, cancelled = (
        lifecycle.submit(ada, dataset, TrainConfig(epochs=5), name)
        for name in ("Queued", "Running", "Cancelled")
    )
    claim_job(running)
    lifecycle.request_cancel(cancelled, "ada")
    return [queued, running, cancelled]


def send(page: Client, action: str, jobs: list[Job], **more: str) -> Any:
    data: Mapping[str, Any] = {"action": action, "job": [job.pk for job in jobs], **more}
    return page.post("/jobs/actions", data)


def shown_messages(answer: HttpResponse) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]  # type: ignore[attr-defined]


def test_pause_changes_the_jobs_that_allow_it_and_reports_the_others(
    page: Client, jobs: list[Job]
) -> None:
    answer = send(page, "pause", jobs, next="/jobs?search=x")
    assert (answer.status_code, answer["Location"]) == (303, "/jobs?search=x")
    assert shown_messages(answer) == [
        "Pause requested for 2 jobs.",
        "Could not pause 1 job. Cancelled: it is cancelled.",
    ]
    assert reload(jobs[0]).status == "paused"
    assert reload(jobs[1]).stop_requested == "pause"
    answer = send(page, "resume", jobs)
    assert shown_messages(answer)[-1] == (
        "Could not resume 2 jobs. Running: it is pausing; Cancelled: it is cancelled."
    )
    assert reload(jobs[0]).status == "queued"


@pytest.mark.parametrize("action", ["cancel", "delete"])
def test_irreversible_actions_ask_for_confirmation(
    page: Client, jobs: list[Job], action: str
) -> None:
    lifecycle.request_pause(jobs[0], "ada")
    answer = send(page, action, jobs)
    assert answer.status_code == 200
    html = answer.content.decode()
    assert f"{action.capitalize()} 2 jobs?" in html
    assert "Not changed" in html
    assert reload(jobs[0]).status == "paused"
    answer = send(page, action, jobs, confirmed="1")
    assert answer.status_code == 303
    assert len(shown_messages(answer)) == 2
    assert Job.objects.filter(status="cancelled").count() == {"cancel": 2, "delete": 0}[action]
    assert Job.objects.count() == {"cancel": 3, "delete": 1}[action]


def test_only_the_owner_deletes_a_shared_job(page: Client, ada: User, bob: User) -> None:
    team = Group.objects.create(name="lab")
    ada.groups.add(team)
    shared, private = (
        Job.objects.create(owner=bob, name=name, status="paused", team=owner_team,
                           updated_at="2026-01-01T00:00Z")
        for name, owner_team in (("Shared", team), ("Private", None))
    )  # fmt: skip
    answer = send(page, "delete", [shared, private], confirmed="1")
    assert shown_messages(answer) == [
        "Not found, perhaps deleted: 1 job.",
        "Could not delete 1 job. Shared: only its owner (bob) can delete it.",
    ]
    assert Job.objects.count() == 2


@pytest.mark.parametrize(
    ("action", "count", "sentence"),
    [
        ("explode", 1, "'explode' is not an action; choose one of compare, pause"),
        ("pause", 0, "Select 1 to 200 jobs; 0 are selected."),
    ],
)
def test_invalid_selection_is_answered_with_a_sentence(
    page: Client, jobs: list[Job], action: str, count: int, sentence: str
) -> None:
    answer = send(page, action, jobs[:count])
    assert sentence in shown_messages(answer)[0]


def test_compare_opens_the_comparison(page: Client, jobs: list[Job]) -> None:
    answer = send(page, "compare", jobs[:2])
    assert answer["Location"] == f"/compare?jobs={jobs[0].pk},{jobs[1].pk}"


def test_result_redirects_to_this_site_only(page: Client, jobs: list[Job]) -> None:
    for elsewhere in ("https://example.org/jobs", "//example.org", "javascript:alert(1)"):
        assert send(page, "pause", jobs, next=elsewhere)["Location"] == "/jobs"


def test_selection_needs_a_csrf_token(ada: User, jobs: list[Job]) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    assert send(strict, "pause", jobs).status_code == 403
