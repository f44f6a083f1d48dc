"""Retention in the background: one worker at a time, in short runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from training.models import RetentionState
from training.retention import run, thread
from training.retention.removed import NOTHING, Removed
from training.retention.thread import RetentionThread

pytestmark = pytest.mark.django_db


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that were made, of runs of three."""
    made: list[int] = []

    def three(*_: object) -> Iterator[Removed]:
        for number in range(3):
            made.append(number)
            yield NOTHING

    monkeypatch.setattr(run, "steps", three)
    return made


def test_one_of_several_retention_threads_runs(steps: list[int]) -> None:
    first, second = RetentionThread(), RetentionThread()
    first.run_once()
    second.run_once()
    assert steps == [0, 1, 2]
    assert RetentionState.objects.get().finished_at is not None


def test_retention_run_ends_after_its_time_limit_and_the_next_continues(
    steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "WORK_SECONDS", 0.0)
    retention = RetentionThread()
    retention.run_once()
    assert steps == [] and retention.interval() == thread.REST_SECONDS
    monkeypatch.setattr(thread, "WORK_SECONDS", 60.0)
    retention.run_once()
    assert steps == [0, 1, 2] and retention.interval() == thread.IDLE_SECONDS


def test_run_of_a_killed_process_is_taken_over(steps: list[int]) -> None:
    assert run.claim(timedelta(hours=1))
    assert not run.claim(timedelta(hours=1))
    RetentionState.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    RetentionThread().run_once()
    assert steps == [0, 1, 2]


def test_next_run_is_due_after_the_interval(steps: list[int]) -> None:
    RetentionThread().run_once()
    RetentionState.objects.update(finished_at=timezone.now() - timedelta(hours=7))
    RetentionThread().run_once()
    assert steps == [0, 1, 2] * 2


def test_failed_step_begins_a_new_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Iterator[Removed]:
        yield NOTHING
        raise OSError("gone")

    monkeypatch.setattr(run, "steps", fail)
    retention = RetentionThread()
    with pytest.raises(OSError, match="gone"):
        retention.run_once()
    assert retention.interval() == thread.IDLE_SECONDS
