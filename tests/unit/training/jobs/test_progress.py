"""The speed of a training, the time left, and where it was resumed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from training.jobs import attempts, progress, results
from training.jobs.attempts import Attempt
from training.models import Epoch, Job
from training.models.states import Status

START = datetime(2026, 1, 1, tzinfo=timezone.get_default_timezone())


def ends(*seconds: float) -> list[datetime]:
    return [START + timedelta(seconds=one) for one in seconds]


def running_job(current: int, total: int, **values: object) -> Job:
    return Job(status=Status.RUNNING, current_epoch=current, total_epochs=total, **values)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ((), None),
        ((5,), None),
        ((5, 7), 2.0),
        ((100, 101, 103, 106), 2.0),
        # Of 60 epochs the newer half counts: a slow start is no longer visible.
        ((*range(0, 300, 10), *range(300, 330)), 1.0),
    ],
)
def test_seconds_per_epoch_are_measured(at: tuple[float, ...], expected: float | None) -> None:
    found = progress.seconds_per_epoch(ends(*at))
    assert found == (expected if expected is None else pytest.approx(expected, rel=0.01))


def test_time_left_counts_down_within_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    job, at = running_job(3, 10), ends(0, 10, 20)
    for since, left in ((0, 70), (4, 66), (30, 60)):
        monkeypatch.setattr(timezone, "now", lambda since=since: at[-1] + timedelta(seconds=since))
        assert progress.seconds_left(job, at) == pytest.approx(left)


def test_time_left_is_never_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    at = ends(0, 10)
    monkeypatch.setattr(timezone, "now", lambda: at[-1] + timedelta(hours=1))
    assert progress.seconds_left(running_job(2, 2), at) == 0


@pytest.mark.parametrize("status", [one for one in Status if one != Status.RUNNING])
def test_job_that_is_not_running_has_no_time_left(status: Status) -> None:
    job = running_job(2, 10)
    job.status = status
    assert progress.seconds_left(job, ends(0, 10)) is None


@pytest.mark.parametrize(
    ("best", "patience", "expected"), [(10, 89, True), (10, 90, False), (None, 5, True)]
)
def test_early_stopping_may_end_a_job_before_its_last_epoch(
    best: int | None, patience: int, expected: bool
) -> None:
    job = running_job(20, 100, best_epoch=best, config={"patience": patience})
    assert progress.may_stop_early(job) == expected


def test_job_without_patience_never_stops_early() -> None:
    assert not progress.may_stop_early(running_job(20, 100, best_epoch=None, config={}))


def test_speed_counts_the_present_attempt_only(job: Job, running_attempt: Attempt) -> None:
    metrics = {"val_loss": 1.0, "val_rmse": 1.0}
    attempts.record_epochs(running_attempt, attempts.EpochReport(1, metrics, 0.1, True, "/c"))
    results.requeue_or_fail(running_attempt, "worker", "crashed", "Killed.")
    claimed = attempts.claim(job.pk, "worker")
    assert claimed
    attempt, again = claimed
    attempts.record_epochs(attempt, attempts.EpochReport(2, metrics, 0.1, True, "/c"))
    assert progress.epoch_ends(again) == [Epoch.objects.get(epoch=2).at]


def test_resumed_epochs_are_those_after_which_training_continued(
    job: Job, running_attempt: Attempt
) -> None:
    attempts.record_started(running_attempt, 240, 160, 40)
    assert progress.resumed_epochs(job) == []
    attempts.record_started(running_attempt, 240, 160, 40, resumed_from_epoch=7)
    assert progress.resumed_epochs(job) == [7]
