from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import F
from django.utils import timezone

from realtime.connections import Viewer
from realtime.interfaces import JobSeqs
from training.events.store import DatabaseEventStore, DatabaseOutbox
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job, JobEvent

STORE, OUTBOX = DatabaseEventStore(), DatabaseOutbox()


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    job = lifecycle.submit(ada, dataset, TrainConfig())
    lifecycle.request_pause(job, "ada")
    return job


def test_frames_are_returned_in_order_after_a_seq(job: Job) -> None:
    frames = STORE.frames(job.pk, after=1, limit=10)
    assert [frame.seq for frame in frames] == [2, 3]
    body = json.loads(frames[0].body)
    assert (body["seq"], body["data"]["job_id"]) == (2, str(job.pk))
    assert frames[1].routing_key == f"training.completed.{job.pk}"


def test_latest_seqs_are_read_for_given_and_for_changed_jobs(job: Job) -> None:
    assert STORE.latest_seqs([job.pk]) == {job.pk: 3}
    assert STORE.latest_seqs_since(60) == {job.pk: 3}
    assert STORE.latest_seqs_since(-60) == {}


def test_changed_jobs_are_found_by_the_clock_of_the_database(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: pytest.fail("the clock of this machine"))
    assert STORE.latest_seqs_since(60) == {job.pk: 3}


def test_visible_seqs_are_those_at_a_position_and_now(
    job: Job, ada: User, bob: User, staff: User, dataset: Dataset, django_assert_num_queries: Any
) -> None:
    position = STORE.position()
    lifecycle.resume(job, "ada")
    later = [lifecycle.submit(ada, dataset, TrainConfig()) for _ in range(5)]
    jobs = [job.pk, uuid4(), *(one.pk for one in later)]
    expected = {job.pk: JobSeqs(3, 4), **{one.pk: JobSeqs(0, 1) for one in later}}
    with django_assert_num_queries(3):  # the user, its teams, and all jobs
        assert STORE.visible_seqs(Viewer(ada.pk), jobs, position) == expected
    assert STORE.visible_seqs(Viewer(staff.pk), jobs, position) == expected
    assert STORE.visible_seqs(Viewer(bob.pk), jobs, position) == {}
    team = Group.objects.create(name="field")
    bob.groups.add(team)
    Job.objects.filter(pk=job.pk).update(team=team)
    assert STORE.visible_seqs(Viewer(bob.pk), jobs, position) == {job.pk: JobSeqs(3, 4)}
    assert STORE.visible_seqs(Viewer(0), jobs, position) == {}


def test_event_of_another_version_is_sent_and_delivered(job: Job) -> None:
    JobEvent.objects.create(
        job=job, seq=4, event="training:alert", data={"job_id": str(job.pk)}, at=timezone.now()
    )
    JobEvent.objects.create(job=job, seq=5, event="?", data={}, at=timezone.now())
    Job.objects.update(seq=F("seq") + 2)
    frames = OUTBOX.unsent(job.pk, 3, 10)
    assert [frame.routing_key for frame in frames] == [
        f"training.alert.{job.pk}",
        f"training.unknown.{job.pk}",
    ]
    assert [json.loads(frame.body)["seq"] for frame in frames] == [4, 5]


def test_job_is_visible_to_its_owner_and_staff(job: Job, ada: User, bob: User, staff: User) -> None:
    seen = {user.username: STORE.can_view(Viewer(user.pk), job.pk) for user in (ada, bob, staff)}
    assert seen == {"ada": True, "bob": False, "grace": True}


def test_one_process_at_a_time_sends_the_events_of_a_job(job: Job) -> None:
    assert list(OUTBOX.pending_jobs(10)) == [job.pk]
    assert OUTBOX.claim(job.pk, 30)
    assert not OUTBOX.claim(job.pk, 30)
    assert list(OUTBOX.pending_jobs(10)) == []
    OUTBOX.release(job.pk, 2)
    assert [frame.seq for frame in OUTBOX.unsent(job.pk, None, 10)] == [3]


def test_claim_of_a_killed_sender_expires(job: Job) -> None:
    assert OUTBOX.claim(job.pk, -1)
    assert OUTBOX.claim(job.pk, 30)


def test_slow_publisher_does_not_reset_the_published_seq(job: Job) -> None:
    OUTBOX.release(job.pk, 3)
    OUTBOX.release(job.pk, 1)
    assert list(OUTBOX.pending_jobs(10)) == []


def test_staff_with_a_token_without_admin_see_what_ordinary_users_see(
    job: Job, staff: User, ada: User
) -> None:
    limited = Viewer(staff.pk, as_staff=False)
    assert STORE.can_view(Viewer(staff.pk), job.pk)
    assert not STORE.can_view(limited, job.pk)
    assert STORE.visible_seqs(limited, [job.pk], STORE.position()) == {}
    viewers = [(Viewer(staff.pk), [job.pk]), (limited, [job.pk]), (Viewer(ada.pk), [job.pk])]
    assert STORE.revoked_access(viewers) == {(limited, job.pk)}
