"""The comparison of jobs: selection and options."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.jobs import claim_job
from training.jobs import attempts, lifecycle, results
from training.localization.config import GenerateConfig, TrainConfig
from training.models import Dataset, Job


def trained(owner: User, dataset: Dataset, name: str, rmse: float, **config: Any) -> Job:
    """A job with three epochs, whose error falls to `rmse`."""
    job = lifecycle.submit(owner, dataset, TrainConfig(epochs=5, **config), name)
    attempt = claim_job(job)
    for epoch, factor in enumerate((4.0, 2.0, 1.0), 1):
        metrics = {"val_loss": factor, "val_rmse": factor * rmse}
        attempts.record_epochs(attempt, attempts.EpochReport(epoch, metrics, 2.0, True, "/c"))
    return job


@pytest.fixture
def jobs(ada: User, dataset: Dataset) -> list[Job]:
    return [trained(ada, dataset, "First", 100.0), trained(ada, dataset, "Second", 80.0)]


def compared(page: Client, jobs: list[Job], **query: str) -> Any:
    answer = page.get("/compare", {"jobs": ",".join(str(job.pk) for job in jobs), **query})
    assert answer.status_code == 200
    return answer.context


def names(context: Any) -> list[str]:
    return [column.job.name for column in context["columns"]]


def cells(context: Any, title: str) -> list[tuple[str, bool, str]]:
    (row,) = (row for row in context["results"] if row.title.startswith(title))
    return [(cell.text, cell.best, cell.difference) for cell in row.cells]


def test_jobs_are_shown_in_the_requested_order_once_each(page: Client, jobs: list[Job]) -> None:
    assert names(compared(page, [jobs[1], jobs[0], jobs[1]])) == ["Second", "First"]


def test_at_most_eight_jobs_are_compared(page: Client, ada: User, dataset: Dataset) -> None:
    many = [lifecycle.submit(ada, dataset, TrainConfig(), str(number)) for number in range(9)]
    assert names(compared(page, many)) == [str(number) for number in range(8)]


def test_generations_and_jobs_of_other_users_are_excluded(
    page: Client, ada: User, bob: User, jobs: list[Job], dataset: Dataset
) -> None:
    theirs = trained(bob, dataset, "Theirs", 1.0)
    generation = lifecycle.submit_generation(ada, "Made", GenerateConfig(samples=50))
    assert names(compared(page, [*jobs, theirs, generation])) == ["First", "Second"]


def test_deleted_or_invisible_baseline_is_ignored(
    page: Client, bob: User, jobs: list[Job], dataset: Dataset
) -> None:
    theirs = trained(bob, dataset, "Theirs", 1.0)
    gone = Job(pk=uuid4())
    for baseline in (theirs, gone):
        context = compared(page, [*jobs, baseline], baseline=str(baseline.pk))
        assert names(context) == ["First", "Second"]
        assert [difference for _, _, difference in cells(context, "Validation RMSE")] == ["", ""]


def test_differences_to_the_baseline_and_the_best_value_are_marked(
    page: Client, jobs: list[Job]
) -> None:
    context = compared(page, jobs, baseline=str(jobs[1].pk))
    assert cells(context, "Validation RMSE") == [("100 m", False, "+25.0 %"), ("80.0 m", True, "")]
    assert [column.pinned for column in context["columns"]] == [False, True]
    assert f"baseline={jobs[0].pk}" in context["columns"][0].pin
    assert "baseline" not in context["columns"][1].pin


def test_tiny_difference_has_no_sign(page: Client, ada: User, dataset: Dataset) -> None:
    close = [trained(ada, dataset, "A", 100.0), trained(ada, dataset, "B", 100.001)]
    context = compared(page, close, baseline=str(close[0].pk))
    assert cells(context, "Validation RMSE")[1][2] == "±0.0 %"


def test_single_known_value_is_not_marked_as_the_best(page: Client, jobs: list[Job]) -> None:
    results.complete_training(attempts.Attempt(jobs[0].pk, 1), "/c", {"test": {"rmse_m": 90.0}})
    assert cells(compared(page, jobs), "Test RMSE") == [("90.0 m", False, ""), ("–", False, "")]


def test_chart_over_time_uses_training_seconds(page: Client, jobs: list[Job]) -> None:
    by_epoch, by_time = compared(page, jobs), compared(page, jobs, over="time")
    assert by_epoch["curves"] != by_time["curves"]
    assert "6 s" in by_time["curves"]
    assert cells(by_time, "Training time")[0][0] == "6 s"


@pytest.mark.parametrize(
    ("query", "metric", "over", "log"),
    [
        ({}, "val_rmse", "epoch", False),
        ({"metric": "val_loss", "scale": "log"}, "val_loss", "epoch", True),
        ({"metric": "nonsense", "over": "nonsense", "scale": "x"}, "val_rmse", "epoch", False),
        ({"over": "time", "baseline": "nonsense"}, "val_rmse", "time", False),
    ],
)
def test_options_come_from_the_query_and_invalid_ones_are_ignored(
    page: Client, jobs: list[Job], query: dict[str, str], metric: str, over: str, log: bool
) -> None:
    context = compared(page, jobs, **query)
    choice, script = context["choice"], context["script"]
    assert (script["metric"]["name"], choice.over, choice.log) == (metric, over, log)
    assert choice.baseline is None


def test_only_differing_parameters_are_listed_with_the_dataset(
    page: Client, ada: User, dataset: Dataset
) -> None:
    other = Dataset.objects.create(owner=ada, name="Other", kind="measured", path="/d")
    pair = [trained(ada, dataset, "A", 1.0, hidden=32), trained(ada, other, "B", 1.0, hidden=64)]
    context = compared(page, pair)
    assert context["datasets_differ"]
    assert [list(row.values_of) for row in context["parameters"]] == [["Small", "Other"], [32, 64]]


def test_error_distributions_are_drawn_if_known(page: Client, jobs: list[Job]) -> None:
    assert compared(page, jobs)["cdf"] is None
    cdf = {"share": [0.0, 0.5, 1.0], "model": [1.0, 80.0, 200.0]}
    evaluation: Any = {"test": {}, "cdf": cdf}
    results.complete_training(attempts.Attempt(jobs[1].pk, 1), "/c", evaluation)
    drawn = compared(page, jobs)["cdf"]
    assert 'class="line c1"' in drawn and 'class="line c0"' not in drawn


def test_tied_best_values_are_not_marked(
    page: Client, ada: User, dataset: Dataset, jobs: list[Job]
) -> None:
    twin = trained(ada, dataset, "Twin", 80.0)
    assert [best for _, best, _ in cells(compared(page, [*jobs, twin]), "Val")] == [False] * 3
    assert [best for _, best, _ in cells(compared(page, jobs), "Val")] == [False, True]
    assert not any(best for _, best, _ in cells(compared(page, jobs), "Training time"))
