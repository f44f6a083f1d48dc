from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError
from django.utils import timezone

from training.jobs import attempts, queue
from training.models import Job, JobEvent, Worker
from training.models.states import Status
from training.workers import registry as workers
from training.workers.maintenance import MaintenanceThread


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    found: list[UUID] = []
    monkeypatch.setattr(queue, "enqueue", lambda job_id, needs: found.append(job_id))
    return found


def test_a_job_without_a_heartbeat_goes_back_to_the_queue(job: Job, announced: list[UUID]) -> None:
    attempts.claim(job.pk, "lost")
    Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    MaintenanceThread("keeper@here", 2).look()
    job.refresh_from_db()
    assert (job.status, job.crashes) == (Status.QUEUED, 1)
    last = JobEvent.objects.filter(job=job).last()
    assert last is not None
    assert last.data["cause"] == "worker_lost"
    assert last.data["reason"] == "The worker was lost: no heartbeat."
    assert last.data["actor"] == "keeper@here"


def test_a_job_with_a_heartbeat_is_left_alone(job: Job, announced: list[UUID]) -> None:
    attempts.claim(job.pk, "busy")
    MaintenanceThread("keeper", 2).look()
    job.refresh_from_db()
    assert job.status == Status.RUNNING


def test_a_message_that_was_lost_is_sent_again_and_not_too_often(
    job: Job, announced: list[UUID]
) -> None:
    MaintenanceThread("keeper", 2).look()
    assert announced == []
    Job.objects.update(enqueued_at=timezone.now() - timedelta(seconds=30))
    MaintenanceThread("keeper", 2).look()
    MaintenanceThread("keeper", 2).look()
    assert announced == [job.pk]


def test_a_worker_is_known_for_as_long_as_its_keeper_looks(db: None) -> None:
    keeper = MaintenanceThread("worker@here", 2)
    keeper.look()
    first = Worker.objects.get()
    keeper.look()
    again = Worker.objects.get()
    assert (again.name, again.slots, again.started_at) == ("worker@here", 2, first.started_at)
    assert again.seen_at > first.seen_at
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    assert Worker.objects.filter(workers.stale()).exists()
    Worker.objects.update(seen_at=timezone.now() - timedelta(days=2))
    another = MaintenanceThread("another@here", 1)
    another.look()
    another.look()
    assert [worker.name for worker in Worker.objects.all()] == ["another@here"]


@pytest.mark.django_db(transaction=True)
def test_after_the_database_was_away_every_lease_gets_its_time(
    job: Job, announced: list[UUID], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAINTENANCE_SECONDS, settings.LEASE_SECONDS = 0.01, 1
    attempts.claim(job.pk, "busy")
    Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    away, looked = [True], []
    real = workers.register

    def arrive(name: str, slots: int, has: Collection[str]) -> None:
        if away[0]:
            raise OperationalError("away")
        real(name, slots, has)
        looked.append(time.monotonic())

    monkeypatch.setattr(workers, "register", arrive)
    keeper = MaintenanceThread("keeper", 1)
    keeper.start()
    time.sleep(0.1)
    away[0] = False
    while Job.objects.get().status == Status.RUNNING:
        time.sleep(0.01)
    keeper.stop()
    assert time.monotonic() - looked[0] >= 1
