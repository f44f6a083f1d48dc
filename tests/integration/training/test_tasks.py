"""The actions of a worker on a queue message."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from training.jobs import attempts, lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset
from training.models.states import Status
from training.tasks import run


def test_worker_whose_job_was_claimed_by_another_takes_the_next(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers that receive messages for two jobs both try the first one."""
    first, second = (lifecycle.submit(ada, dataset, TrainConfig(epochs=1)) for _ in range(2))
    looked_at = []

    def supervise(job_id: UUID, worker: str) -> bool:
        looked_at.append(job_id)
        if job_id == first.pk:
            assert attempts.claim(first.pk, "the other worker")
            return False
        return attempts.claim(job_id, worker) is not None

    monkeypatch.setattr("training.tasks.supervise", supervise)
    run(str(first.pk))
    assert looked_at == [first.pk, second.pk]
    run(str(second.pk))
    assert looked_at == [first.pk, second.pk]


def test_worker_that_cannot_claim_a_job_tries_once(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=1))
    looked_at: list[UUID] = []
    monkeypatch.setattr("training.tasks.supervise", lambda job_id, worker: looked_at.append(job_id))
    run(str(job.pk))
    assert looked_at == [job.pk]


def test_unavailable_database_leaves_the_job_queued_without_a_traceback(
    ada: User,
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=1))

    def fail(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("training.tasks.next_job", fail)
    run(str(job.pk))
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.exc_info is None
    assert "connection refused" in record.getMessage()
    job.refresh_from_db()
    assert job.status == Status.QUEUED
