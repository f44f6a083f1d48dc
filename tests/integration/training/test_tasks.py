"""What a message makes a worker do."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib.auth.models import User

from training.jobs import attempts, lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset
from training.tasks import run


def test_who_comes_too_late_for_a_job_takes_the_next(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers that hear of two jobs at once both look at the first of them."""
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


def test_a_worker_that_may_take_nothing_asks_once(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=1))
    looked_at: list[UUID] = []
    monkeypatch.setattr("training.tasks.supervise", lambda job_id, worker: looked_at.append(job_id))
    run(str(job.pk))
    assert looked_at == [job.pk]
