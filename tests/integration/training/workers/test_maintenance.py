from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.utils import timezone

from training.jobs import attempts, lifecycle, queue, reports
from training.jobs.policy import QueuePolicy
from training.localization.config import TrainConfig
from training.models import Claim, Dataset, Job, JobEvent, Worker
from training.models.states import Needs, Status
from training.periodic_thread import PeriodicThread
from training.sweeps import scheduler
from training.workers import maintenance
from training.workers import registry as workers
from training.workers.maintenance import MaintenanceThread, reenqueue_stale


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
    assert last.data["reason"] == "No heartbeat from the worker; it may be overloaded or offline."
    assert last.data["actor"] == "worker@here"


def test_job_with_a_heartbeat_is_not_requeued(job: Job, enqueued: list[UUID]) -> None:
    attempts.claim(job.pk, "busy")
    MaintenanceThread("worker", 2).run_once()
    job.refresh_from_db()
    assert job.status == Status.RUNNING


def test_unclaimed_job_is_enqueued_again_after_a_while(job: Job, enqueued: list[UUID]) -> None:
    workers.register("worker", 2)
    MaintenanceThread("worker", 2).run_once()
    assert enqueued == []
    Job.objects.update(enqueued_at=timezone.now() - timedelta(seconds=30))
    thread = MaintenanceThread("worker", 2)
    Claim.objects.all().delete()
    thread.run_once()
    thread.run_once()
    assert enqueued == [job.pk]


def test_no_more_jobs_are_announced_than_workers_can_run(
    job: Job, ada: User, dataset: Dataset, enqueued: list[UUID]
) -> None:
    for needs, count in ((Needs.AUTO, 5), (Needs.CPU, 5), (Needs.GPU, 5)):
        for _ in range(count):
            lifecycle.submit(ada, dataset, TrainConfig(), policy=QueuePolicy(needs=needs))
    Job.objects.update(enqueued_at=timezone.now() - timedelta(seconds=30))
    enqueued.clear()
    reenqueue_stale()
    assert enqueued == []
    workers.register("here", 2, ["cpu"])
    workers.register("lost", 50, ["cpu", "gpu"])
    Worker.objects.filter(name="lost").update(seen_at=timezone.now() - timedelta(hours=1))
    reenqueue_stale()
    needs_of = dict(Job.objects.values_list("pk", "needs"))
    assert Counter(needs_of[pk] for pk in enqueued) == {Needs.AUTO: 2, Needs.CPU: 2}


def test_one_worker_at_a_time_schedules_and_another_takes_over(
    job: Job, enqueued: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled: list[str] = []
    one, two = MaintenanceThread("same@here", 2), MaintenanceThread("same@here", 2)

    def run(thread: MaintenanceThread, name: str) -> None:
        monkeypatch.setattr(scheduler, "run_once", lambda seconds: scheduled.append(name))
        thread.run_once()

    for _ in range(3):
        run(one, "one")
        run(two, "two")
    assert scheduled == ["one"] * 3
    Claim.objects.update(expires_at=timezone.now() - timedelta(seconds=1))  # it was killed
    run(two, "two")
    run(one, "one")
    assert scheduled == ["one"] * 3 + ["two"]
    monkeypatch.setattr(PeriodicThread, "at_exit", lambda _: None)
    two.at_exit()
    run(one, "one")
    assert scheduled[-1] == "one"


def test_old_workers_are_deleted(db: None) -> None:
    workers.register("old@here", 2)
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    MaintenanceThread("another@here", 1).run_once()
    assert Worker.objects.filter(workers.stale()).exists()
    Worker.objects.update(seen_at=timezone.now() - timedelta(days=2))
    Claim.objects.all().delete()
    MaintenanceThread("another@here", 1).run_once()
    assert not Worker.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_no_lease_expires_right_after_a_database_outage(
    job: Job, enqueued: list[UUID], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAINTENANCE_SECONDS, settings.LEASE_SECONDS = 0.01, 1
    attempts.claim(job.pk, "busy")
    Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    real = maintenance.requeue_expired
    failed_at: list[float] = []

    def fail_once(*args: Any) -> None:
        if not failed_at:
            failed_at.append(time.monotonic())
            raise OperationalError("away")
        real(*args)

    monkeypatch.setattr(maintenance, "requeue_expired", fail_once)
    thread = MaintenanceThread("worker", 1)
    thread.start()
    while Job.objects.get().status == Status.RUNNING:
        time.sleep(0.01)
    thread.stop()
    assert time.monotonic() - failed_at[0] >= 1


def test_maintenance_fails_a_silent_reported_job(ada: User, settings: Any) -> None:
    reported = reports.register(ada, reports.NewReport(name="Elsewhere"), None, None)
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=reported.pk).update(heartbeat_at=long_ago, lease_expires_at=long_ago)
    MaintenanceThread("worker", 2).run_once()
    # The web processes may have been down as long as this worker.
    assert Job.objects.get(pk=reported.pk).status == Status.RUNNING
    settings.REPORT_SILENCE_SECONDS = 0
    MaintenanceThread("worker", 2).run_once()
    assert Job.objects.get(pk=reported.pk).status == Status.FAILED


@pytest.mark.parametrize("hours", [-1, 1])
def test_clock_of_a_web_process_does_not_matter_to_hub_and_maintenance(
    ada: User, dataset: Dataset, enqueued: list[UUID], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    real = timezone.now
    with monkeypatch.context() as clock:
        clock.setattr(timezone, "now", lambda: real() + timedelta(hours=hours))
        queued = lifecycle.submit(ada, dataset, TrainConfig())
        reported = reports.register(ada, reports.NewReport(name="Elsewhere"), None, None)
    rows = Job.objects.in_bulk([queued.pk, reported.pk])
    times = [row.updated_at for row in rows.values()]
    for at in (*times, rows[queued.pk].enqueued_at, rows[reported.pk].heartbeat_at):
        assert at is not None
        assert abs(real() - at) < timedelta(minutes=1)
    assert queued.updated_at == rows[queued.pk].updated_at
