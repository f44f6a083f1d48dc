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
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    found: list[UUID] = []
    monkeypatch.setattr(queue, "enqueue", lambda job_id, needs: found.append(job_id))
    return found


def test_job_with_an_expired_lease_is_requeued(job: Job, enqueued: list[UUID]) -> None:
    attempts.claim(job.pk, "lost")
    Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    MaintenanceThread("worker@here", 2).run_once()
    job.refresh_from_db()
    assert (job.status, job.crashes) == (Status.QUEUED, 1)
    last = JobEvent.objects.filter(job=job).last()
    assert last is not None
    assert last.data["cause"] == "worker_lost"
    assert last.data["reason"] == "The worker was lost: no heartbeat."
    assert last.data["actor"] == "worker@here"


def test_job_with_a_heartbeat_is_not_requeued(job: Job, enqueued: list[UUID]) -> None:
    attempts.claim(job.pk, "busy")
    MaintenanceThread("worker", 2).run_once()
    job.refresh_from_db()
    assert job.status == Status.RUNNING


def test_unclaimed_job_is_enqueued_again_after_a_while(job: Job, enqueued: list[UUID]) -> None:
    MaintenanceThread("worker", 2).run_once()
    assert enqueued == []
    Job.objects.update(enqueued_at=timezone.now() - timedelta(seconds=30))
    MaintenanceThread("worker", 2).run_once()
    MaintenanceThread("worker", 2).run_once()
    assert enqueued == [job.pk]


def test_maintenance_registers_its_worker_and_deletes_old_rows(db: None) -> None:
    maintenance = MaintenanceThread("worker@here", 2)
    maintenance.run_once()
    first = Worker.objects.get()
    maintenance.run_once()
    second = Worker.objects.get()
    assert (second.name, second.slots, second.started_at) == ("worker@here", 2, first.started_at)
    assert second.seen_at > first.seen_at
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    assert Worker.objects.filter(workers.stale()).exists()
    Worker.objects.update(seen_at=timezone.now() - timedelta(days=2))
    another = MaintenanceThread("another@here", 1)
    another.run_once()
    another.run_once()
    assert [worker.name for worker in Worker.objects.all()] == ["another@here"]


@pytest.mark.django_db(transaction=True)
def test_no_lease_expires_right_after_a_database_outage(
    job: Job, enqueued: list[UUID], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAINTENANCE_SECONDS, settings.LEASE_SECONDS = 0.01, 1
    attempts.claim(job.pk, "busy")
    Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    unreachable, registered_at = [True], []
    real = workers.register

    def register(name: str, slots: int, has: Collection[str]) -> None:
        if unreachable[0]:
            raise OperationalError("away")
        real(name, slots, has)
        registered_at.append(time.monotonic())

    monkeypatch.setattr(workers, "register", register)
    maintenance = MaintenanceThread("worker", 1)
    maintenance.start()
    time.sleep(0.1)
    unreachable[0] = False
    while Job.objects.get().status == Status.RUNNING:
        time.sleep(0.01)
    maintenance.stop()
    assert time.monotonic() - registered_at[0] >= 1
