"""Points of a job that a worker runs."""

from __future__ import annotations

import pytest

from heimdall_sdk.messages import Point
from tests.jobs import reload
from training.jobs import attempts, points
from training.jobs.attempts import Attempt, SupersededError
from training.models import Job
from training.models.states import Status
from training.points import columns, compaction


def point(step: int, epoch: int | None = None, **values: float) -> Point:
    return Point(step=step, time=1e9 + step, epoch=epoch, values={**values})


def test_points_of_an_attempt_become_its_epochs(job: Job, running_attempt: Attempt) -> None:
    points.record_points(running_attempt, [point(1, 1, val_loss=2.0), point(2, 1, val_rmse=3.0)])
    stored = reload(job)
    assert (stored.current_epoch, stored.best_epoch, stored.best_value) == (1, 1, 2.0)
    assert stored.headline_value == 3.0
    epoch = stored.epochs.get()
    assert (epoch.metrics, epoch.attempt) == ({"val_loss": 2.0, "val_rmse": 3.0}, 1)
    assert epoch.seconds == 1.0


def test_epoch_computed_again_after_a_resume_is_replaced_without_an_event(
    job: Job, running_attempt: Attempt
) -> None:
    points.record_points(running_attempt, [point(1, 1, val_loss=2.0)])
    Job.objects.filter(pk=job.pk).update(status=Status.QUEUED)
    claimed = attempts.claim(job.pk, "other")
    assert claimed
    before = reload(job).seq
    points.record_points(claimed[0], [point(1, 1, val_loss=2.0)])
    points.record_points(claimed[0], [point(1, 1, val_loss=2.5)])
    assert reload(job).seq == before
    assert reload(job).epochs.get().metrics == {"val_loss": 2.5}
    assert reload(job).best_value == 2.5


def test_steps_computed_again_after_a_resume_replace_their_values(
    job: Job, running_attempt: Attempt
) -> None:
    found = [point(step, loss=float(step)) for step in range(1, 6)]
    points.record_points(running_attempt, found)
    assert compaction.compact(job.pk)
    Job.objects.filter(pk=job.pk).update(status=Status.QUEUED)
    claimed = attempts.claim(job.pk, "other")
    assert claimed
    later = [
        Point(step=step, time=2e9 + step, values={"loss": 10.0 * step}) for step in range(4, 8)
    ]
    points.record_points(claimed[0], later)
    for _ in range(2):
        series = columns.read_series(job.pk, "loss")
        assert series.steps.tolist() == [1, 2, 3, 4, 5, 6, 7]
        assert series.values.tolist() == [1.0, 2.0, 3.0, 40.0, 50.0, 60.0, 70.0]
        assert series.known_times().tolist() == [
            1e9 + 1, 1e9 + 2, 1e9 + 3, 2e9 + 4, 2e9 + 5, 2e9 + 6, 2e9 + 7,
        ]  # fmt: skip
        assert compaction.compact(job.pk)


def test_outdated_attempt_stores_no_points(job: Job, running_attempt: Attempt) -> None:
    Job.objects.filter(pk=job.pk).update(attempt=2)
    with pytest.raises(SupersededError):
        points.record_points(running_attempt, [point(1, 1, val_loss=2.0)])
    assert not reload(job).has_points
    with pytest.raises(SupersededError):
        points.record_checkpointed(running_attempt, "/c")


def test_reported_checkpoint_is_stored_for_the_next_attempt(
    job: Job, running_attempt: Attempt
) -> None:
    points.record_checkpointed(running_attempt, "/data/checkpoint")
    assert reload(job).checkpoint_path == "/data/checkpoint"


def test_later_checkpoint_counts_as_progress_between_crashes(
    job: Job, running_attempt: Attempt
) -> None:
    """A script that reports steps only, such as a Trainer, has no epochs that show progress."""
    Job.objects.filter(pk=job.pk).update(crashes=2)
    points.record_checkpointed(running_attempt, "/data/attempt-001/epoch-000300.safetensors")
    assert reload(job).crashes == 0
    Job.objects.filter(pk=job.pk).update(crashes=2)
    points.record_checkpointed(running_attempt, "/data/attempt-002/epoch-000300.safetensors")
    assert reload(job).crashes == 2


def test_invalid_points_are_named_and_the_others_stored(job: Job, running_attempt: Attempt) -> None:
    rejected = points.record_points(
        running_attempt, [point(1, 1, val_loss=1.0), point(2, 1, **{"a\tb": 1.0})]
    )
    assert [one.point for one in rejected] == [1]
    assert "control character" in rejected[0].reason
    assert reload(job).epochs.get().metrics == {"val_loss": 1.0}
