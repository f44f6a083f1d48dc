"""The trials of a sweep: values, the best one, histories, and what a sampler learns."""

from __future__ import annotations

import math
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.jobs import claim_job
from training.jobs import attempts, lifecycle, results
from training.models import Dataset, Job, Sweep
from training.sweeps import lifecycle as sweep_lifecycle
from training.sweeps import scheduler, trials
from training.sweeps.spec import validate_spec

SPACE = {"learning_rate": {"values": [0.1, 0.01, 0.001]}}


@pytest.fixture
def sweep(ada: User, dataset: Dataset) -> Sweep:
    sent: dict[str, Any] = {
        "name": "Rates", "dataset_id": str(dataset.pk), "space": SPACE, "method": "grid",
        "max_parallel": 3, "early_stopping": {"rule": "none"},
    }  # fmt: skip
    made = sweep_lifecycle.create(ada, dataset, validate_spec(sent))
    scheduler.advance_sweep(made.pk)
    return made


def job(sweep: Sweep, number: int) -> Job:
    return Job.objects.get(sweep=sweep, trial=number)


def train(sweep: Sweep, number: int, losses: list[float | None]) -> attempts.Attempt:
    attempt, best = claim_job(job(sweep, number)), math.inf
    for epoch, loss in enumerate(losses, 1):
        is_best = loss is not None and loss < best
        best = min(best, math.inf if loss is None else loss)
        metrics = {"val_loss": loss, "val_rmse": None if loss is None else 10 * loss}
        report = attempts.EpochReport(epoch, metrics, 0.1, is_best, "/c")
        attempts.record_epochs(attempt, report)
    return attempt


def test_trials_are_listed_by_number_with_their_points(sweep: Sweep) -> None:
    found = trials.list_trials(sweep)
    assert [trial.job.trial for trial in found] == [1, 2, 3]
    assert [trial.point for trial in found] == [
        {"learning_rate": rate} for rate in (0.1, 0.01, 0.001)
    ]
    assert trials.best_trial(found) is None
    assert trials.count_trials(found) == {"queued": 3}


def test_best_trial_has_the_lowest_value_among_those_that_keep_a_model(sweep: Sweep) -> None:
    train(sweep, 1, [3.0, 2.0])
    results.fail_attempt(train(sweep, 2, [1.0]), "No disk.")
    train(sweep, 3, [4.0, 2.5])
    best = trials.best_trial(trials.list_trials(sweep))
    assert best is not None
    assert (best["trial"], best["value"], best["best_epoch"]) == (1, 2.0, 2)
    assert best["parameters"] == {"learning_rate": 0.1}


def test_sampler_learns_from_all_but_failed_and_user_cancelled_trials(sweep: Sweep) -> None:
    results.complete_training(train(sweep, 1, [3.0]), "/c", {})
    lifecycle.request_cancel(job(sweep, 2), "ada")
    attempt = train(sweep, 3, [4.0])
    lifecycle.request_cancel(job(sweep, 3), "sweep", "val_loss 4 is worse than the median.")
    results.cancel_attempt(attempt)
    found = trials.trial_results(trials.list_trials(sweep))
    assert [(one.state, one.value, one.epoch) for one in found] == [
        ("completed", 3.0, 1),
        ("pruned", 4.0, 1),
    ]


def test_history_lists_new_bests_and_a_completed_trial_counts_at_every_epoch(
    sweep: Sweep,
) -> None:
    results.complete_training(train(sweep, 1, [3.0, 5.0, 2.0]), "/c", {})
    train(sweep, 2, [None, 4.0])
    found = trials.trial_histories(sweep)
    completed, running = found[job(sweep, 1).pk], found[job(sweep, 2).pk]
    assert completed.bests == [(1, 3.0), (3, 2.0)]
    assert [completed.best_by(epoch) for epoch in (1, 2, 3, 1000)] == [3.0, 3.0, 2.0, 2.0]
    assert running.bests == [(2, 4.0)]
    assert [running.best_by(epoch) for epoch in (1, 2, 3)] == [None, 4.0, None]
    assert found[job(sweep, 3).pk].bests == []
