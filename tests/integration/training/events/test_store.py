from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from training.events.store import DatabaseEventStore, DatabaseOutbox
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job

STORE, OUTBOX = DatabaseEventStore(), DatabaseOutbox()


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    job = lifecycle.submit(ada, dataset, TrainConfig())
    lifecycle.request_pause(job, "ada")
    return job


def test_frames_come_in_order_after_a_seq(job: Job) -> None:
    frames = STORE.frames(job.pk, after=1, limit=10)
    assert [frame.seq for frame in frames] == [2, 3]
    body = json.loads(frames[0].body)
    assert (body["seq"], body["data"]["job_id"]) == (2, str(job.pk))
    assert frames[1].routing_key == f"training.completed.{job.pk}"


def test_latest_seqs_of_given_and_of_changed_jobs(job: Job) -> None:
    assert STORE.latest_seqs([job.pk]) == {job.pk: 3}
    assert STORE.latest_seqs_since(timezone.now() - timedelta(minutes=1)) == {job.pk: 3}
    assert STORE.latest_seqs_since(timezone.now() + timedelta(minutes=1)) == {}


def test_a_job_is_watched_by_its_owner_and_by_staff(
    job: Job, ada: User, bob: User, staff: User
) -> None:
    seen = {user.username: STORE.can_view(user.pk, job.pk) for user in (ada, bob, staff)}
    assert seen == {"ada": True, "bob": False, "grace": True}


def test_one_at_a_time_sends_a_jobs_events(job: Job) -> None:
    assert list(OUTBOX.pending_jobs(10)) == [job.pk]
    assert OUTBOX.claim(job.pk, 30)
    assert not OUTBOX.claim(job.pk, 30)
    assert list(OUTBOX.pending_jobs(10)) == []
    OUTBOX.release(job.pk, 2)
    assert [frame.seq for frame in OUTBOX.unsent(job.pk, None, 10)] == [3]


def test_the_claim_of_a_killed_sender_runs_out(job: Job) -> None:
    assert OUTBOX.claim(job.pk, -1)
    assert OUTBOX.claim(job.pk, 30)


def test_a_slow_sender_does_not_move_the_mark_back(job: Job) -> None:
    OUTBOX.release(job.pk, 3)
    OUTBOX.release(job.pk, 1)
    assert list(OUTBOX.pending_jobs(10)) == []
