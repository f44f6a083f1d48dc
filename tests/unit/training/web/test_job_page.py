"""Texts of a job's page, and data that it reads from files."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from training.jobs.reference_errors import ReferenceErrors
from training.models import Job
from training.models.states import Status
from training.web.views.job_page import (
    bound_ratio,
    chart_drawings,
    progress_text,
)
from training.web.views.job_page import test_rmse as rmse_on_test


def ends(count: int, seconds: float) -> list[datetime]:
    """Epochs that took `seconds` each, the last of which has just ended."""
    now = timezone.now()
    return [now - timedelta(seconds=seconds * index) for index in reversed(range(count))]


@pytest.mark.parametrize(
    ("job", "took", "expected"),
    [
        (Job(total_epochs=100), 0, "Epoch 0 of 100, 0 %"),
        (
            Job(status=Status.RUNNING, total_epochs=2000, current_epoch=1000,
                config={"patience": 2000}),
            6,
            "Epoch 1,000 of 2,000, 50 %, about 1 h 40 min left",
        ),
        (
            Job(status=Status.RUNNING, total_epochs=100, current_epoch=50, best_epoch=20,
                config={"patience": 40}),
            60,
            "Epoch 50 of 100, 50 %, at most about 50 min left",
        ),
        (
            Job(status=Status.RUNNING, total_epochs=100, current_epoch=100, dataset_id=uuid4()),
            1,
            "Epoch 100 of 100, 100 %, evaluating on the test set",
        ),
        (
            Job(status=Status.RUNNING, total_epochs=100, current_epoch=100),
            1,
            "Epoch 100 of 100, 100 %, finishing",
        ),
        (
            Job(status=Status.PAUSED, total_epochs=100, current_epoch=50),
            60,
            "Epoch 50 of 100, 50 %",
        ),
        (
            Job(kind=Job.Kind.GENERATION, generated=1500, config={"samples": 6000}),
            0,
            "1,500 of 6,000 samples, 25 %",
        ),
    ],
)  # fmt: skip
def test_progress_is_described_in_words(job: Job, took: float, expected: str) -> None:
    assert progress_text(job, ends(10, took) if took else []) == expected


@pytest.mark.parametrize(
    ("bound", "value", "expected"),
    [(50.0, 75.0, 1.5), (None, 75.0, None), (50.0, None, None), (0.0, 75.0, None)],
)
def test_error_relative_to_the_bound_is_formatted(
    bound: float | None, value: float | None, expected: float | None
) -> None:
    assert bound_ratio(Job(headline_value=value), ReferenceErrors(bound)) == expected


def test_after_the_end_the_bound_of_the_test_split_is_compared_with_the_test_error() -> None:
    assert bound_ratio(Job(headline_value=1700.0), ReferenceErrors(563.0), 395.0) == 395 / 563
    assert rmse_on_test({"test": {"rmse_m": 395.0}}) == 395.0
    assert rmse_on_test(None) is None


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        (None, set()),
        ({"test": {}}, set()),
        ({"cdf": {"share": [0, 1], "model": [1, 2]}}, {"cdf"}),
        ({"points": {"target": [], "mean": []}}, set()),
        ({"points": {"target": [[0, 0], [9, 9]], "mean": [[1, 1], [8, 8]]}}, {"map"}),
    ],
)
def test_evaluations_of_older_versions_have_fewer_drawings(
    evaluation: Any, expected: set[str]
) -> None:
    assert set(chart_drawings(evaluation)) == expected
