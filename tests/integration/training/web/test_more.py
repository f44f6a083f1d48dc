"""Lists, comparison, datasets and models, as pages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.jobs import claim_job
from training.jobs import attempts, lifecycle, results
from training.jobs.attempts import Attempt
from training.localization.config import TrainConfig
from training.models import Dataset, Job, TrainedModel


def test_job_list_pages_by_cursor(
    page: Client, ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.web.views.job_list.PAGE", 2)
    for name in ("A", "B", "C"):
        lifecycle.submit(ada, dataset, TrainConfig(), f"Job {name}")
    first = page.get("/jobs")
    assert [row["job"].name for row in first.context["rows"]] == ["Job C", "Job B"]
    rest = page.get("/jobs", {"before": first.context["before"]})
    assert [row["job"].name for row in rest.context["rows"]] == ["Job A"]
    assert rest.context["before"] == ""


def test_quick_training_button_creates_a_job(page: Client, dataset: Dataset) -> None:
    assert "Run a quick training" in page.get("/jobs").content.decode()
    answer = page.post("/jobs/first")
    assert answer["Location"] == f"/jobs/{Job.objects.get().pk}"


def test_comparison_shows_differing_parameters_and_difference_to_baseline(
    page: Client, ada: User, dataset: Dataset
) -> None:
    made = []
    for rate, rmse in ((0.001, 200.0), (0.01, 100.0)):
        one = lifecycle.submit(ada, dataset, TrainConfig(learning_rate=rate), f"Rate {rate}")
        attempt = claim_job(one)
        metrics = {"val_loss": 1.0, "val_rmse": rmse}
        attempts.record_epochs(attempt, attempts.EpochReport(1, metrics, 0.1, True, "/c"))
        made.append(one)
    query = f"/compare?jobs={made[0].pk},{made[1].pk}&baseline={made[0].pk}"
    html = page.get(query).content.decode()
    assert "Learning rate" in html
    assert "Batch size" not in html
    assert "−50.0 %" in html
    assert re.search(r'class="winner">100 m', html)
    assert "Select 2 to 8 jobs" in page.get(f"/compare?jobs={made[0].pk}").content.decode()
    assert "Select 2 to 8 jobs" in page.get("/compare?jobs=nonsense").content.decode()


def test_dataset_page_shows_facts_and_deletes_unused_dataset(
    page: Client, dataset: Dataset
) -> None:
    html = page.get(f"/datasets/{dataset.pk}").content.decode()
    assert "Milano-Baggio" in html
    assert 'class="drawing map"' in html
    more = {"map": [{"lat": 45.0, "lon": 7.5, "split": "val"}], "floor_m": 290.0, "leaks": True}
    dataset.facts |= more
    dataset.save()
    html = page.get(f"/datasets/{dataset.pk}").content.decode()
    for part in ('class="sample val"', "290 m", "Random split"):
        assert part in html
    answer = page.post(f"/datasets/{dataset.pk}/delete")
    assert answer["Location"] == "/datasets"
    assert not Dataset.objects.exists()


EVALUATION = {
    "test": {"samples": 2, "mean_m": 90.0, "rmse_m": 100.0, "median_m": 80.0, "p95_m": 200.0,
             "coverage_68": 0.66, "coverage_95": 0.94, "nll": 17.0},
    "baselines": {"centroid": {"mean_m": 900.0, "rmse_m": 1000.0, "median_m": 1.0, "p95_m": 2.0}},
    "bound_rmse_m": 50.0,
    "good_geometry": {"samples": 1, "rmse_m": 70.0, "definition": "heard by four"},
}  # fmt: skip
MORE = {
    "cdf": {"share": [0, 0.5, 1], "model": [0, 80, 200], "baselines": {"centroid": [1, 2, 3]}},
    "by_receivers": [{"receivers": 4, "samples": 2, "rmse_m": 100.0, "median_m": 80.0}],
    "by_gdop": [{"from": 1.0, "to": None, "samples": 2, "rmse_m": 100.0, "median_m": 80.0}],
    "worst": [{"sample": "s17", "lat": 45.0, "lon": 7.5, "predicted_lat": 45.1,
               "predicted_lon": 7.6, "error_m": 200.0}],
    "points": {"target": [[0, 0], [900, 400]], "mean": [[50, 20], [800, 300]],
               "covariance": [[100, 0, 100], [900, 10, 400]], "receivers": [[100, 100, "Torino"]],
               "frame": {"lat0": 45.0, "lon0": 7.5}},
    "bayes_rmse_m": 90.0, "split": "by place", "leaks": False,
}  # fmt: skip


@pytest.mark.parametrize("evaluation", [EVALUATION, {**EVALUATION, **MORE}])
def test_job_and_model_pages_show_the_evaluation(
    page: Client, job: Job, running_attempt: Attempt, evaluation: dict[str, Any]
) -> None:
    results.complete_training(running_attempt, "/c", evaluation)
    model = TrainedModel.objects.get()
    for path in (f"/jobs/{job.pk}", f"/models/{model.pk}"):
        html = page.get(path).content.decode()
        assert "Cramér-Rao bound" in html
        for word in ("Bayes optimum", "Error by GDOP", "s17", 'class="drawing cdf"'):
            assert (word in html) == ("cdf" in evaluation), word
    assert "100 m" in page.get("/models").content.decode()
