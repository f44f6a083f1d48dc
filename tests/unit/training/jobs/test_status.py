"""The status of a running job: speed and time left."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest

from training.jobs import progress
from training.localization.config import TrainConfig
from training.models import Job

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def ends_of(durations: Iterable[timedelta], began: datetime = BEGAN) -> list[datetime]:
    """When each epoch ended."""
    found = [began]
    for duration in durations:
        found.append(found[-1] + duration)
    return found[1:]


def epochs(count: int) -> list[timedelta]:
    """How long each took: two seconds, more or less by a third, and the first one nine."""
    drawn = accumulate(range(count), lambda seed, _: seed * 16807 % 2147483647, initial=1)
    shares = [seed / 2147483647 for seed in drawn][1:]
    return [timedelta(seconds=9), *(timedelta(seconds=2 * (0.67 + 0.66 * s)) for s in shares[1:])]


def test_time_left_is_within_10_percent_after_a_fifth_of_the_epochs() -> None:
    total = 120
    ends = ends_of(epochs(total))
    for done in range(total // 5, total - 10):
        each = progress.seconds_per_epoch(ends[:done][-progress.MAX_PACE_EPOCHS :]) or pytest.fail(
            "no pace"
        )
        left = (ends[-1] - ends[done - 1]).total_seconds()
        assert each * (total - done) == pytest.approx(left, rel=0.1)


def test_lasting_change_of_speed_is_reported_quickly() -> None:
    slow, quick = [timedelta(seconds=4)] * 100, [timedelta(seconds=1)] * 60
    ends = ends_of([*slow, *quick])
    assert progress.seconds_per_epoch(ends[-progress.MAX_PACE_EPOCHS :]) == 1


@pytest.mark.parametrize(("best", "patience", "sooner"), [(10, 30, True), (60, 30, False)])
def test_job_may_stop_early_depending_on_patience_and_best_epoch(
    best: int, patience: int, sooner: bool
) -> None:
    config = TrainConfig(epochs=80, patience=patience).model_dump()
    job = Job(total_epochs=80, current_epoch=62, best_epoch=best, config=config)
    assert progress.may_stop_early(job) is sooner
