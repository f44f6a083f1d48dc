from __future__ import annotations

import pytest
from django.db.models import Q
from pydantic import ValidationError

from training.jobs import lifecycle, queue
from training.jobs.objective import value_at_best_epoch
from training.jobs.policy import QueuePolicy
from training.models import Job
from training.models.states import Status


@pytest.mark.parametrize(
    "values", [{"needs": "tpu"}, {"priority": 101}, {"processes": 0}, {"nice": 1}]
)
def test_invalid_queue_policy_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        QueuePolicy.model_validate(values)


def test_policy_of_a_job_reads_its_columns() -> None:
    job = Job(needs="gpu", priority=-3, processes=2)
    assert QueuePolicy.of(job) == QueuePolicy(needs="gpu", priority=-3, processes=2)


def test_value_at_best_epoch_knows_the_objective_and_the_headline_metric() -> None:
    job = Job(objective_metric="val_loss", best_value=0.5, headline_value=12.0)
    assert value_at_best_epoch(job, "val_loss") == 0.5
    assert value_at_best_epoch(job, "val_rmse") == 12.0
    assert value_at_best_epoch(job, "train_loss") is None


def test_next_job_is_the_oldest_of_the_highest_priority_that_the_hardware_can_run(job: Job) -> None:
    assert queue.next_job([]) == job.pk
    Job.objects.filter(pk=job.pk).update(needs="gpu")
    assert queue.next_job(["cpu"]) is None
    assert queue.next_job(["cpu", "gpu"]) == job.pk


def test_change_rejects_a_transition_missing_from_the_table(job: Job) -> None:
    assert lifecycle.change(job.pk, Q(), status=Status.COMPLETED) is None
    assert Job.objects.get(pk=job.pk).status == Status.QUEUED
