"""Sweeps in the database: each trial starts once, poor ones are stopped, the sweep ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection

from tests.jobs import claim_job
from training.jobs import attempts, lifecycle, results
from training.jobs.attempts import Attempt
from training.models import Dataset, Job, JobEvent, Project, Sweep
from training.models.states import Status, Stop
from training.sweeps import lifecycle as sweep_lifecycle
from training.sweeps import scheduler, trials
from training.sweeps.search_space import suggest
from training.sweeps.spec import validate_spec
from training.workers.maintenance import MaintenanceThread

GRID = {"learning_rate": {"values": [0.1, 0.01, 0.001, 0.0001]}}


def begin(owner: User, dataset: Dataset, **sent: Any) -> Sweep:
    plan = validate_spec(
        {"name": "Rates", "dataset_id": str(dataset.pk), "space": GRID, "method": "grid",
         "config": {"epochs": 50}, **sent}
    )  # fmt: skip
    sweep = sweep_lifecycle.create(owner, dataset, plan)
    scheduler.advance_sweep(sweep.pk)
    return fresh(sweep)


def fresh(sweep: Sweep) -> Sweep:
    return Sweep.objects.get(pk=sweep.pk)


def job(sweep: Sweep, trial: int) -> Job:
    return Job.objects.get(sweep=sweep, trial=trial)


def train(sweep: Sweep, trial: int, losses: list[float]) -> Attempt:
    """The trial's first epochs."""
    attempt = claim_job(job(sweep, trial))
    best = float("inf")
    for epoch, loss in enumerate(losses, 1):
        metrics = {"val_loss": loss, "val_rmse": 10 * loss}
        attempts.record_epochs(
            attempt, attempts.EpochReport(epoch, metrics, 0.1, loss < best, "/c")
        )
        best = min(best, loss)
    return attempt


@pytest.fixture
def sweep(ada: User, dataset: Dataset) -> Sweep:
    return begin(ada, dataset)


def test_max_parallel_trials_start_at_once(sweep: Sweep) -> None:
    assert sweep.started_trials == 2
    rows = Job.objects.filter(sweep=sweep).order_by("trial")
    assert [(row.trial, row.config["learning_rate"], row.name) for row in rows] == [
        (1, 0.1, "Rates #1"), (2, 0.01, "Rates #2"),
    ]  # fmt: skip
    scheduler.advance_sweep(sweep.pk)
    assert fresh(sweep).started_trials == 2


def test_next_trial_starts_when_one_ends_and_the_best_is_determined_at_the_end(
    sweep: Sweep,
) -> None:
    maintenance = MaintenanceThread("worker", 2)
    for trial, loss in enumerate([4.0, 2.0, 1.0, 3.0], 1):
        attempt = train(sweep, trial, [loss])
        results.complete_training(attempt, "/c/best.safetensors", {"test": {}})
        maintenance.run_once()
    assert fresh(sweep).status == "completed"
    assert fresh(sweep).finished_at is not None
    best = trials.best_trial(trials.list_trials(sweep))
    assert best is not None
    assert (best["trial"], best["value"], best["parameters"]) == (3, 1.0, {"learning_rate": 0.001})


@pytest.mark.django_db(transaction=True)
def test_concurrent_schedulers_start_each_trial_once(ada: User, dataset: Dataset) -> None:
    sweep = begin(ada, dataset, max_parallel=3, trials=4)
    lifecycle.request_cancel(job(sweep, 1), "ada")

    def carry_on(_: int) -> None:
        try:
            scheduler.advance_sweep(sweep.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(carry_on, range(6)))
    assert [trial.trial for trial in Job.objects.filter(sweep=sweep).order_by("trial")] == [
        1,
        2,
        3,
        4,
    ]
    assert fresh(sweep).started_trials == 4


def test_trial_that_could_not_be_submitted_is_not_counted(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    real = lifecycle.submit
    monkeypatch.setattr(lifecycle, "submit", dies)
    with pytest.raises(RuntimeError):
        begin(ada, dataset)
    assert Sweep.objects.get().started_trials == 0
    monkeypatch.setattr(lifecycle, "submit", real)
    scheduler.run_once()
    assert Sweep.objects.get().started_trials == 2


def test_pruned_trial_is_cancelled_with_the_reason(ada: User, dataset: Dataset) -> None:
    stopping = {"rule": "median", "warmup_epochs": 3, "min_trials": 2}
    sweep = begin(ada, dataset, max_parallel=3, early_stopping=stopping)
    train(sweep, 1, [3.0, 2.0, 1.0])
    train(sweep, 2, [3.0, 2.0, 1.5])
    attempt = train(sweep, 3, [9.0, 8.0])
    scheduler.advance_sweep(sweep.pk)
    assert job(sweep, 3).stop_requested == Stop.NONE
    metrics = {"val_loss": 7.0, "val_rmse": 70.0}
    attempts.record_epochs(attempt, attempts.EpochReport(3, metrics, 0.1, True, "/c"))
    scheduler.advance_sweep(sweep.pk)
    pruned = job(sweep, 3)
    assert pruned.stop_requested == Stop.CANCEL
    reason = "val_loss 7 at epoch 3 is worse than 1.25, the median of 2 others."
    assert pruned.cancel_reason == reason
    event = JobEvent.objects.filter(job=pruned).last()
    assert event is not None
    assert (event.data["actor"], event.data["reason"]) == ("sweep: median rule", reason)
    assert [job(sweep, number).stop_requested for number in (1, 2)] == ["", ""]
    results.cancel_attempt(attempt)
    scheduler.advance_sweep(sweep.pk)
    assert job(sweep, 3).status == Status.CANCELLED
    assert fresh(sweep).started_trials == 4
    assert not next(trial for trial in trials.list_trials(sweep) if trial.job.trial == 3).is_best


def test_pausing_or_resuming_a_sweep_applies_to_its_trials(sweep: Sweep) -> None:
    train(sweep, 1, [1.0])
    assert sweep_lifecycle.pause(sweep, "ada").status == "paused"
    assert job(sweep, 1).stop_requested == Stop.PAUSE
    assert job(sweep, 2).status == Status.PAUSED
    results.pause_attempt(Attempt(job(sweep, 1).pk, 1))
    MaintenanceThread("worker", 2).run_once()
    assert fresh(sweep).started_trials == 2
    assert sweep_lifecycle.resume(sweep, "ada").status == "running"
    assert {trial.status for trial in sweep.jobs.all()} == {Status.QUEUED}
    assert sweep_lifecycle.resume(sweep, "ada").status == "running"


def test_cancelled_sweep_cancels_all_trials_and_cannot_be_resumed(sweep: Sweep) -> None:
    assert sweep_lifecycle.cancel(sweep, "ada").status == "cancelled"
    assert {trial.status for trial in sweep.jobs.all()} == {Status.CANCELLED}
    for action in (sweep_lifecycle.pause, sweep_lifecycle.resume):
        with pytest.raises(lifecycle.ConflictError, match="it is cancelled"):
            action(sweep, "ada")
    scheduler.run_once()
    assert fresh(sweep).started_trials == 2


def test_sweep_whose_first_trials_all_fail_fails_without_starting_the_rest(
    ada: User, dataset: Dataset
) -> None:
    space = {"learning_rate": {"min": 0.001, "max": 0.1}}
    sweep = begin(ada, dataset, method="random", trials=100, space=space)
    for trial in range(1, 6):
        attempt = claim_job(job(sweep, trial))
        results.fail_attempt(attempt, "The dataset is gone.")
        scheduler.advance_sweep(sweep.pk)
    failed = fresh(sweep)
    assert (failed.status, failed.started_trials) == ("failed", 6)
    assert failed.error_message.endswith("The dataset is gone.")


def test_paused_trial_keeps_the_sweep_open(ada: User, dataset: Dataset) -> None:
    sweep = begin(ada, dataset, trials=1)
    lifecycle.request_pause(job(sweep, 1), "ada")
    scheduler.run_once()
    assert fresh(sweep).status == "running"
    lifecycle.request_cancel(job(sweep, 1), "ada")
    scheduler.run_once()
    assert fresh(sweep).status == "cancelled"


def test_failing_sweep_does_not_block_other_sweeps_or_maintenance(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, sound = begin(ada, dataset), begin(ada, dataset)
    finish, seen = scheduler.finish, []

    def fails_for_one(pk: UUID) -> None:
        seen.append(pk)
        if pk == broken.pk:
            raise RuntimeError("a sampler that fails")
        finish(pk)

    for sweep in (broken, sound):
        lifecycle.request_cancel(job(sweep, 1), "ada")
    monkeypatch.setattr(scheduler, "finish", fails_for_one)
    scheduler.run_once()
    assert set(seen) == {broken.pk, sound.pk}


def test_sweeps_that_cannot_advance_cost_one_query(
    ada: User, dataset: Dataset, django_assert_num_queries: Any
) -> None:
    for _ in range(20):
        begin(ada, dataset)
    with django_assert_num_queries(1):
        scheduler.run_once()


def test_sweep_can_advance_when_a_trial_ends_or_may_be_pruned(ada: User, dataset: Dataset) -> None:
    stopping = {"rule": "median", "warmup_epochs": 3, "min_trials": 2}
    plain, pruned, paused = (
        begin(ada, dataset, trials=2, early_stopping={"rule": "none"}),
        begin(ada, dataset, early_stopping=stopping),
        begin(ada, dataset, trials=2, early_stopping={"rule": "none"}),
    )

    def movable() -> set[UUID]:
        return {sweep.pk for sweep in scheduler.movable_sweeps()}

    assert movable() == set()
    train(plain, 1, [1.0])
    train(pruned, 1, [1.0])
    assert movable() == {pruned.pk}
    lifecycle.request_cancel(job(plain, 2), "ada")
    lifecycle.request_pause(job(paused, 1), "ada")
    lifecycle.request_cancel(job(paused, 2), "ada")
    assert movable() == {pruned.pk}
    results.complete_training(Attempt(job(plain, 1).pk, 1), "/c", {"test": {}})
    assert movable() == {pruned.pk, plain.pk}
    lifecycle.request_cancel(job(pruned, 2), "ada")
    scheduler.run_once()
    assert (fresh(plain).status, fresh(pruned).started_trials) == ("completed", 3)


def test_run_out_of_time_continues_with_the_next_sweep(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = {"rule": "median", "warmup_epochs": 3, "min_trials": 2}
    sweeps = [begin(ada, dataset, early_stopping=stopping) for _ in range(3)]
    for sweep in sweeps:
        train(sweep, 1, [1.0])
    seen: list[UUID] = []
    monkeypatch.setattr(scheduler, "advance_sweep", seen.append)
    for _ in range(4):
        scheduler.run_once(0)
    assert set(seen[:3]) == {sweep.pk for sweep in sweeps}
    assert seen[3] == seen[0]


@pytest.mark.parametrize("limit", ["queued_jobs", "stored_bytes"])
def test_no_trial_is_sampled_while_the_owner_is_at_a_limit(
    ada: User, dataset: Dataset, settings: Any, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    sweep = begin(ada, dataset)
    lifecycle.request_cancel(job(sweep, 1), "ada")
    defaults = settings.USER_LIMITS
    settings.USER_LIMITS = {**defaults, limit: 0}
    sampled: list[int] = []

    def sample(*arguments: Any) -> Any:
        sampled.append(1)
        return suggest(*arguments)

    monkeypatch.setattr(scheduler, "suggest", sample)
    scheduler.advance_sweep(sweep.pk)
    assert (sampled, fresh(sweep).started_trials) == ([], 2)
    settings.USER_LIMITS = defaults
    scheduler.advance_sweep(sweep.pk)
    assert (sampled, fresh(sweep).started_trials) == ([1], 3)


@pytest.mark.django_db(transaction=True)
def test_project_deleted_while_a_trial_is_submitted_does_not_end_the_pass(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps = [begin(ada, dataset), begin(ada, dataset)]
    first = min(sweeps, key=lambda sweep: sweep.pk)
    project = Project.objects.create(owner=ada, name="Short-lived")
    Sweep.objects.filter(pk=first.pk).update(project=project)
    for sweep in sweeps:
        lifecycle.request_cancel(job(sweep, 1), "ada")

    submit = lifecycle.submit

    def submit_and_delete(*arguments: Any, **named: Any) -> Job:
        submitted = submit(*arguments, **named)
        if named["project"]:
            Project.objects.filter(pk=project.pk)._raw_delete("default")
        return submitted

    monkeypatch.setattr(lifecycle, "submit", submit_and_delete)
    monkeypatch.setattr(scheduler, "_last_advanced", [])
    scheduler.run_once()
    assert [fresh(sweep).started_trials for sweep in sweeps] == [
        2 if sweep == first else 3 for sweep in sweeps
    ]
