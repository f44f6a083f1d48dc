from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.jobs import claim_job
from training.jobs import lifecycle, results
from training.jobs.reference_errors import ReferenceErrors, best_baseline, reference_errors
from training.localization.config import TrainConfig
from training.models import Dataset, Job

EVALUATION: Any = {
    "bound_rmse_m": 50.0,
    "baselines": {
        "centroid": {"rmse_m": 900.0},
        "nearest_neighbors": {"rmse_m": 300.0},
        "maximum_likelihood": {"rmse_m": None},
    },
}


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        (EVALUATION, ("nearest neighbors", 300.0)),
        ({"baselines": {"centroid": {"rmse_m": None}}}, None),
        ({"baselines": {"centroid": {}}}, None),
        ({"baselines": {}}, None),
        ({}, None),
    ],
)
def test_best_baseline_has_the_lowest_known_error(
    evaluation: Any, expected: tuple[str, float] | None
) -> None:
    assert best_baseline(evaluation) == expected


def test_reference_errors_come_from_the_jobs_own_evaluation(job: Job) -> None:
    found = reference_errors(job, EVALUATION)
    assert found == ReferenceErrors(50.0, 300.0, "nearest neighbors")
    assert found.as_json() == {
        "bound": 50.0, "baseline": 300.0, "baseline_name": "nearest neighbors",
    }  # fmt: skip


def test_running_job_uses_reference_errors_of_a_model_on_the_same_dataset(
    job: Job, ada: User, dataset: Dataset
) -> None:
    assert reference_errors(job, None) == ReferenceErrors()
    other = lifecycle.submit(ada, dataset, TrainConfig())
    results.complete_training(claim_job(other), "/c", EVALUATION)
    assert reference_errors(job, None).bound == 50.0


def test_models_on_other_datasets_are_ignored(job: Job, ada: User, dataset: Dataset) -> None:
    elsewhere = Dataset.objects.create(owner=ada, name="Other", kind="measured")
    other = lifecycle.submit(ada, elsewhere, TrainConfig())
    results.complete_training(claim_job(other), "/c", EVALUATION)
    assert reference_errors(job, None) == ReferenceErrors()
