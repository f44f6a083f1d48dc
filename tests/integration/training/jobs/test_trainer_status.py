"""The status that a trainer inside a program reports."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.jobs import claim_job, reload
from training.jobs import progress, reports, results
from training.jobs.attempts import Attempt, SupersededError
from training.jobs.chart_series import metrics_json
from training.jobs.trainer_status import StatusMetric, TrainerStatus, record_status
from training.models import Job, JobEvent
from training.models.states import Status
from training.points import store
from training.points.rows import Row
from training.web.views.job_page import progress_text


def status(
    percent: float | None = None, left: float | None = None, at: float | None = None, **metrics: Any
) -> TrainerStatus:
    """A status as Hugging Face's callback makes it: values as text."""
    return TrainerStatus(
        progress_percentage=percent,
        estimated_remaining_seconds=left,
        last_updated_time=None if at is None else datetime.fromtimestamp(at, UTC),
        metrics=[StatusMetric(name=name, value=str(value)) for name, value in metrics.items()],
    )


def series(job: Job, *names: str) -> dict[str, list[tuple[Any, Any]]]:
    found = metrics_json(reload(job), list(names), 1000)
    return {
        name: [one for one in zip(found["step"], found["series"][name], strict=True)
               if one[1] is not None]
        for name in names
    }  # fmt: skip


def progress_events(job: Job) -> list[dict[str, Any]]:
    return [row.data for row in JobEvent.objects.filter(job=job, event="training:progress")]


def test_metrics_are_points_at_the_step_of_the_status(job: Job, running_attempt: Attempt) -> None:
    record_status(running_attempt, status(10, 90, 1e9, loss=0.5, epoch=0.25, current_step=10,
                                          total_steps=100, current_epoch=0.28))  # fmt: skip
    assert store.series_names(job.pk) == ["epoch", "loss"]
    assert series(job, "loss", "epoch") == {"loss": [(10, 0.5)], "epoch": [(10, 0.25)]}
    newest = progress_events(job)[-1]
    assert (newest["step"], newest["metrics"]) == (10, {"loss": 0.5, "epoch": 0.25})
    assert reload(job).summary == {"loss": 0.5, "epoch": 0.25}


def test_progress_and_time_left_are_those_reported_by_the_trainer(
    job: Job, running_attempt: Attempt
) -> None:
    record_status(running_attempt, status(25, 180))
    stored = reload(job)
    assert stored.progress_percent == 25
    left = progress.seconds_left(stored, [])
    assert left is not None and 170 < left <= 180
    stored.total_epochs = 0
    assert progress_text(stored, []) == "25 %, about 3 min left"
    event = progress_events(job)[-1]
    assert (event["progress_percent"], event["metrics"]) == (25, {})
    end = datetime.fromisoformat(event["estimated_end_at"])
    assert timedelta(seconds=170) < end - timezone.now() <= timedelta(seconds=180)


def test_finished_training_has_no_time_left(job: Job, running_attempt: Attempt) -> None:
    record_status(running_attempt, status(99, 3))
    record_status(running_attempt, status(100, 0))
    stored = reload(job)
    assert (stored.progress_percent, stored.estimated_end_at) == (100, None)


def test_later_value_of_a_step_replaces_the_earlier_one(job: Job, running_attempt: Attempt) -> None:
    record_status(running_attempt, status(10, 90, 1e9, loss=0.5, current_step=10))
    record_status(running_attempt, status(10, 90, 1e9 + 5, loss=0.25, current_step=10))
    found = metrics_json(reload(job), ["loss"], 1000, with_repeats=True)
    assert found["series"]["loss"] == [0.25]


def test_value_repeated_by_a_later_status_is_stored_once(
    job: Job, running_attempt: Attempt
) -> None:
    """The callback sends the newest value of each metric every time."""
    record_status(running_attempt, status(10, loss=0.5, eval_loss=0.7, current_step=10))
    record_status(running_attempt, status(20, loss=0.4, eval_loss=0.7, current_step=20))
    record_status(running_attempt, status(20, loss="nan", eval_loss=0.7, current_step=22))
    record_status(running_attempt, status(20, loss="nan", eval_loss=0.7, current_step=23))
    assert series(job, "loss", "eval_loss") == {
        "loss": [(10, 0.5), (20, 0.4)], "eval_loss": [(10, 0.7)],
    }  # fmt: skip
    found = metrics_json(reload(job), ["loss"], 100)
    assert (found["step"], found["not_finite"]) == ([10, 20, 22], {"loss": {"2": "NaN"}})


def test_status_that_is_sent_twice_changes_nothing(job: Job, running_attempt: Attempt) -> None:
    for _ in range(2):
        record_status(running_attempt, status(10, loss=0.5, current_step=10))
    assert series(job, "loss") == {"loss": [(10, 0.5)]}
    assert store.revision(job.pk) == 1


def test_resumed_training_does_not_store_its_steps_again(
    job: Job, running_attempt: Attempt
) -> None:
    for step in (10, 20, 30):
        record_status(running_attempt, status(step, loss=1 / step, current_step=step))
    Job.objects.filter(pk=job.pk).update(status=Status.QUEUED)
    attempt = claim_job(job, "other")
    for step in (17, 26, 34):
        record_status(attempt, status(step, loss=1 / step, current_step=step))
    assert [step for step, _ in series(job, "loss")["loss"]] == [10, 20, 30, 34]
    assert reload(job).progress_percent == 34


def test_outdated_attempt_cannot_report(job: Job, running_attempt: Attempt) -> None:
    Job.objects.filter(pk=job.pk).update(attempt=2)
    with pytest.raises(SupersededError):
        record_status(running_attempt, status(10, loss=0.5, current_step=10))
    assert reload(job).reported_percent is None
    assert not reload(job).has_points


def test_status_does_not_extend_the_lease(job: Job, running_attempt: Attempt) -> None:
    """A trainer may live on while its worker is lost."""
    before = reload(job).lease_expires_at
    record_status(running_attempt, status(10, 5, loss=0.5, current_step=10))
    record_status(running_attempt, status(20, 5))
    assert reload(job).lease_expires_at == before


def test_value_already_stored_by_another_client_is_not_stored_again(
    job: Job, running_attempt: Attempt
) -> None:
    """MLflow's callback logs the same names at their own steps."""
    reports.record_points(reload(job), {0: Row(8, 1e9, None, {"loss": 0.5})}, "ada")
    record_status(running_attempt, status(10, loss=0.5, current_step=10))
    assert series(job, "loss") == {"loss": [(8, 0.5)]}


def test_last_status_belongs_to_the_last_step(job: Job, running_attempt: Attempt) -> None:
    """It names no step."""
    record_status(running_attempt, status(0, total_steps=200))
    record_status(running_attempt, status(90, 5, loss=0.2, epoch=1.75, current_step=181,
                                          total_steps=200, current_epoch=1.81))  # fmt: skip
    record_status(running_attempt, status(100, 0, loss=0.1, epoch=2.0, train_loss=0.3))
    assert series(job, "loss", "train_loss") == {
        "loss": [(181, 0.2), (200, 0.1)], "train_loss": [(200, 0.3)],
    }  # fmt: skip


def test_last_status_after_early_stopping_is_stored_at_the_step_where_it_stopped(
    job: Job, running_attempt: Attempt
) -> None:
    record_status(running_attempt, status(38, 5, loss=0.2, current_step=300, total_steps=800,
                                          current_epoch=3.0))  # fmt: skip
    record_status(running_attempt, status(100, 0, loss=0.1, epoch=4.0))
    assert series(job, "loss") == {"loss": [(300, 0.2), (400, 0.1)]}


def test_short_training_has_its_values_at_the_last_step(job: Job, running_attempt: Attempt) -> None:
    record_status(running_attempt, status(0, total_steps=12))
    record_status(running_attempt, status(100, 0, loss=0.1, epoch=3.0))
    assert series(job, "loss") == {"loss": [(12, 0.1)]}


def test_statuses_without_steps_get_consecutive_steps(job: Job, running_attempt: Attempt) -> None:
    for loss in (0.5, 0.4, 0.4, 0.3):
        record_status(running_attempt, status(loss=loss))
    assert series(job, "loss") == {"loss": [(0, 0.5), (1, 0.4), (2, 0.3)]}


def test_metric_that_cannot_be_stored_does_not_affect_the_others(
    job: Job, running_attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = record_status(
        running_attempt, status(10, current_step=3, loss="low", acc=0.5, **{"a\tb": 1})
    )
    assert [(one.name, one.reason) for one in refused] == [
        ("loss", "'low' is not a number."),
        ("a\tb", "The name 'a\\tb' contains a control character; use printable ones."),
    ]
    assert series(job, "acc") == {"acc": [(3, 0.5)]}
    monkeypatch.setattr("training.points.store.MAX_SERIES", 1)
    refused = record_status(running_attempt, status(20, current_step=4, acc=0.6, more=1))
    assert [one.name for one in refused] == ["more"]
    assert series(job, "acc") == {"acc": [(3, 0.5), (4, 0.6)]}


def test_invalid_step_is_ignored(job: Job, running_attempt: Attempt) -> None:
    for step in (math.inf, math.nan, -1, 1e300):
        record_status(running_attempt, status(loss=0.5, current_step=step))
    assert series(job, "loss") == {"loss": [(0, 0.5)]}


def test_statuses_without_values_are_announced_at_most_ten_times_a_second(
    job: Job, running_attempt: Attempt
) -> None:
    for percent in range(20):
        record_status(running_attempt, status(percent, 5))
    assert len(progress_events(job)) <= 10
    assert reload(job).progress_percent == 19


def test_ended_attempt_has_no_estimated_end(job: Job, running_attempt: Attempt) -> None:
    record_status(running_attempt, status(10, 50))
    results.pause_attempt(running_attempt)
    stored = reload(job)
    assert (stored.progress_percent, stored.estimated_end_at) == (10, None)


def test_last_status_without_a_finite_epoch_belongs_to_the_last_step(
    job: Job, running_attempt: Attempt
) -> None:
    record_status(running_attempt, status(90, 5, loss=0.2, current_step=181, total_steps=200,
                                          current_epoch=1.81))  # fmt: skip
    record_status(running_attempt, status(100, 0, loss=0.1, epoch="nan"))
    assert series(job, "loss") == {"loss": [(181, 0.2), (200, 0.1)]}
