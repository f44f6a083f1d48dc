"""Pages of lists, comparison, datasets and models."""

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


@pytest.mark.parametrize("path", ["/jobs", "/datasets", "/sweeps", "/projects", "/compare"])
@pytest.mark.parametrize("query", [{"search": "fi\0rst"}, {"page": "\x1b"}, {"a\0b": "1"}])
def test_url_with_a_control_character_is_a_bad_request(
    page: Client, path: str, query: dict[str, str]
) -> None:
    assert page.get(path, query).status_code == 400


def test_search_in_either_spelling_finds_a_name(page: Client, ada: User, job: Job) -> None:
    found = lifecycle.submit(ada, job.dataset, TrainConfig(), "M\u00fcnchen")
    for spelling in ("m\u00fcn", "mu\u0308n"):
        shown = page.get("/jobs", {"search": spelling.replace("m", "M")})
        assert [row.job for row in shown.context["rows"]] == [found]


def test_list_with_too_many_conditions_for_the_database_is_400(page: Client, job: Job) -> None:
    assert page.get("/jobs", {"param.epochs": ",".join(map(str, range(3000)))}).status_code == 400
    assert page.get("/jobs", {"tag": [str(n) for n in range(2000)]}).status_code == 400


def test_search_finds_a_job_by_its_whole_id(page: Client, ada: User, job: Job) -> None:
    lifecycle.submit(ada, job.dataset, TrainConfig(), "Other")
    shown = page.get("/jobs", {"search": str(job.pk)})
    assert [row.job for row in shown.context["rows"]] == [job]


@pytest.mark.parametrize("before", ["9" * 5000, "-1", "x", "²"])
def test_invalid_page_of_the_epoch_log_shows_the_newest(
    page: Client, job: Job, running_attempt: Attempt, before: str
) -> None:
    metrics = {"val_loss": 1.0, "val_rmse": 5.0}
    attempts.record_epochs(running_attempt, attempts.EpochReport(1, metrics, 0.1, True, "/c"))
    shown = page.get(f"/jobs/{job.pk}/epochs", {"before": before})
    assert [row.epoch for row in shown.context["rows"]] == [1]


def test_quick_training_button_creates_a_job(page: Client, dataset: Dataset) -> None:
    assert "Run a quick training" in page.get("/jobs").content.decode()
    answer = page.post("/jobs/first")
    assert answer["Location"] == f"/jobs/{Job.objects.get().pk}"


def test_comparison_shows_differing_parameters_and_difference_to_baseline(
    page: Client, ada: User, dataset: Dataset
) -> None:
    made = []
    for rate, rmse in ((0.001, 200.0), (0.01, 100.0)):
        job = lifecycle.submit(ada, dataset, TrainConfig(learning_rate=rate), f"Rate {rate}")
        attempt = claim_job(job)
        metrics = {"val_loss": 1.0, "val_rmse": rmse}
        attempts.record_epochs(attempt, attempts.EpochReport(1, metrics, 0.1, True, "/c"))
        made.append(job)
    query = f"/compare?jobs={made[0].pk},{made[1].pk}&baseline={made[0].pk}"
    html = page.get(query).content.decode()
    assert "Learning rate" in html
    assert "Batch size" not in html
    assert "-50.0 %" in html
    assert re.search(r'class="winner">100 m', html)
    (training_time,) = re.findall(r">Training time<.*?</tr>", html)
    assert "winner" not in training_time
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
    "verdict": "12 % better than the best classical method (nearest neighbors).",
    "members": {"extra_trees": {"weight": 0.25, "mean_m": 95.0, "rmse_m": 110.0, "median_m": 85.0,
                                "p95_m": 230.0}},
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
        for word in (
            "Bayes optimum", "Error by GDOP", "s17", 'class="drawing cdf"', "12 % better than",
            "Extremely randomized trees",
        ):  # fmt: skip
            assert (word in html) == ("cdf" in evaluation), word
    assert "100 m" in page.get("/models").content.decode()
