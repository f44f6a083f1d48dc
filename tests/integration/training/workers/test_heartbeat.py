from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from tests.jobs import reload
from tests.polling import eventually
from training.jobs import lifecycle, results
from training.jobs.attempts import Attempt
from training.localization.config import TrainConfig
from training.models import Dataset, Job, Worker
from training.models.states import Status
from training.sweeps import scheduler
from training.workers import maintenance
from training.workers import registry as workers
from training.workers.heartbeat import HeartbeatThread, LeaseThread
from training.workers.maintenance import MaintenanceThread
from training.workers.supervisor import supervise


def test_worker_is_registered_then_updated_by_heartbeat(db: None) -> None:
    heartbeat = HeartbeatThread("worker@here", 2)
    heartbeat.run_once()
    first = Worker.objects.get()
    # The clock of SQLite counts milliseconds, and two heartbeats may fall into one.
    Worker.objects.update(seen_at=first.seen_at - timedelta(seconds=1))
    heartbeat.run_once()
    second = Worker.objects.get()
    assert (second.name, second.slots, second.started_at) == ("worker@here", 2, first.started_at)
    assert second.seen_at >= first.seen_at


def test_running_worker_whose_row_was_deleted_registers_again(db: None) -> None:
    heartbeat = HeartbeatThread("worker@here", 2)
    heartbeat.run_once()
    Worker.objects.all().delete()
    heartbeat.run_once()
    assert Worker.objects.get().slots == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("work", [(maintenance, "requeue_expired"), (scheduler, "run_once")])
def test_worker_with_stuck_maintenance_thread_is_not_lost(
    settings: Any, monkeypatch: pytest.MonkeyPatch, work: tuple[Any, str]
) -> None:
    settings.LEASE_SECONDS, settings.MAINTENANCE_SECONDS = 1, 1
    stuck, released = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        stuck.set()
        connection.close()
        released.wait(20)

    monkeypatch.setattr(*work, wait)
    thread = MaintenanceThread("worker@here", 2)
    thread.start()
    assert stuck.wait(10)
    seen = eventually(Worker.objects.first).seen_at
    eventually(lambda: (Worker.objects.get().seen_at - seen).total_seconds() > 1.5)
    assert not Worker.objects.filter(workers.stale()).exists()
    released.set()
    thread.stop()
    assert not Worker.objects.exists()


@pytest.fixture
def no_other_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("training.jobs.queue.enqueue", lambda job_id, needs: None)
    yield
    connection.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_other_worker")
@pytest.mark.parametrize(
    "call",
    [
        "training.jobs.attempts.record_started",
        "training.jobs.directories.prune_checkpoints",
        "training.jobs.results.complete_training",
    ],
)
def test_job_keeps_its_lease_while_its_supervisor_waits_longer_than_that(
    settings: Any, monkeypatch: pytest.MonkeyPatch, ada: User, dataset: Dataset, call: str
) -> None:
    settings.LEASE_SECONDS = 1
    stuck, released = threading.Event(), threading.Event()

    def wait(*_: object, **__: object) -> None:
        stuck.set()
        connection.close()
        released.wait(20)

    monkeypatch.setattr(call, wait)
    config = TrainConfig(epochs=1, hidden=16, heads=2, layers=1, batch_size=16, portfolio=False)
    job = lifecycle.submit(ada, dataset, config)

    def run() -> None:
        supervise(job.pk, "worker")
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert stuck.wait(60)
    since = timezone.now()

    def later_heartbeat() -> bool:
        at = reload(job).heartbeat_at
        return at is not None and (at - since).total_seconds() > 1.5

    eventually(later_heartbeat)
    assert Job.objects.filter(pk=job.pk, lease_expires_at__gt=timezone.now()).exists()
    released.set()
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_lease_of_the_next_attempt_is_not_extended_by_the_previous_one(
    job: Job, running_attempt: Attempt
) -> None:
    results.requeue_or_fail(running_attempt, "worker", "worker_lost", "No heartbeat.")
    Job.objects.filter(pk=job.pk).update(status=Status.RUNNING, attempt=running_attempt.number + 1)
    thread = LeaseThread(running_attempt)
    thread.run_once()
    assert reload(job).lease_expires_at is None
