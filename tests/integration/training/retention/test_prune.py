"""`manage.py prune`, and what clients see of deleted events."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from training.api.views.job_data import EVENTS_PAGE
from training.events import packing
from training.jobs import attempts, results
from training.jobs.attempts import Attempt, EpochReport
from training.models import Job, JobEvent, RetentionState

YEARS = timedelta(days=800)


@pytest.fixture
def old(running_attempt: Attempt) -> Job:
    """A job of six hundred epochs that ended long ago."""
    attempts.record_epochs(
        running_attempt,
        *(EpochReport(epoch, {"val_loss": 1.0}, 0.1, False, "") for epoch in range(1, 601)),
    )
    results.fail_attempt(running_attempt, "It failed.")
    jobs = Job.objects.filter(pk=running_attempt.job_id)
    jobs.update(finished_at=timezone.now() - YEARS, sent_seq=jobs.values("seq"))
    return jobs.get()


def prune(*arguments: str) -> str:
    out = StringIO()
    call_command("prune", *arguments, stdout=out)
    return out.getvalue()


def test_dry_run_prints_and_deletes_nothing(old: Job) -> None:
    printed = prune("--dry-run")
    assert "events: 600, " in printed and "epochs: 599, " in printed
    assert "Would free " in printed
    assert JobEvent.objects.count() == old.seq and old.epochs.count() == 600
    assert not RetentionState.objects.filter(finished_at__isnull=False).exists()


def test_prune_applies_the_policy_once(old: Job) -> None:
    printed = prune()
    assert "events: 600, " in printed and "epochs: 599, " in printed and "Freed " in printed
    assert prune() == "Freed 0 bytes.\n"
    assert [row.epoch for row in old.epochs.all()] == [600]
    assert RetentionState.objects.get().sizes["database"] > 0


def test_events_after_any_seq_stay_without_gap_when_packed(old: Job, api: APIClient) -> None:
    def pages(after: int) -> list[int]:
        url: str | None = f"/api/v1/training/jobs/{old.pk}/events?after={after}"
        seqs: list[int] = []
        while url:
            page = api.get(url).json()
            seqs += [event["seq"] for event in page["results"]]
            url = page["next"]
        return seqs

    Job.objects.update(finished_at=timezone.now() - timedelta(days=30))
    prune()
    assert not JobEvent.objects.filter(event="training:progress").exists()
    for after in (0, 1, 2, EVENTS_PAGE, 601, old.seq):
        assert pages(after) == list(range(after + 1, old.seq + 1))


def test_request_for_deleted_events_is_410_with_a_sentence(old: Job, api: APIClient) -> None:
    prune()
    last = packing.deleted_up_to(old.pk)
    url = f"/api/v1/training/jobs/{old.pk}/events"
    gone = api.get(url, {"after": last - 1})
    assert gone.status_code == 410
    assert f"?after={last}" in gone.json()["detail"]
    rest = api.get(url, {"after": last}).json()["results"]
    assert [event["seq"] for event in rest] == list(range(last + 1, old.seq + 1))


def test_page_of_a_pruned_job_shows_what_is_left(old: Job, page: Client) -> None:
    prune()
    answer = page.get(f"/jobs/{old.pk}")
    assert answer.status_code == 200
    assert "On disk" in answer.content.decode()
