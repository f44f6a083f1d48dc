from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from training import attempt as attempts
from training import dispatch, keeper, lifecycle
from training.engine.config import TrainConfig
from training.models import Dataset, Job, JobEvent
from training.states import Status


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    found: list[UUID] = []
    monkeypatch.setattr(dispatch, "announce", found.append)
    return found


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    return lifecycle.submit(ada, dataset, TrainConfig(epochs=3))


def test_a_job_without_a_heartbeat_goes_back_to_the_queue(job: Job, announced: list[UUID]) -> None:
    attempts.claim(job.pk, "lost")
    Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    keeper.look("keeper@here")
    job.refresh_from_db()
    assert (job.status, job.crashes) == (Status.QUEUED, 1)
    last = JobEvent.objects.filter(job=job).last()
    assert last is not None
    assert last.data["reason"] == "The worker was lost: no heartbeat."
    assert last.data["actor"] == "keeper@here"


def test_a_job_with_a_heartbeat_is_left_alone(job: Job, announced: list[UUID]) -> None:
    attempts.claim(job.pk, "busy")
    keeper.look("keeper")
    job.refresh_from_db()
    assert job.status == Status.RUNNING


def test_a_message_that_was_lost_is_sent_again_and_not_too_often(
    job: Job, announced: list[UUID]
) -> None:
    keeper.look("keeper")
    assert announced == []
    Job.objects.update(enqueued_at=timezone.now() - timedelta(seconds=30))
    keeper.look("keeper")
    keeper.look("keeper")
    assert announced == [job.pk]
