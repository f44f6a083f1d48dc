from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from training.jobs import attempts, lifecycle
from training.jobs.attempts import EpochReport
from training.models import Job, Sweep
from training.programs.registry import get_program

MANIFEST = """
title = "Digits"
description = "Handwritten digits."
command = ["python", "train.py"]
resumable = true
objective = { metric = "val_accuracy", direction = "maximize" }
[parameters]
epochs = { type = "integer", default = 20, minimum = 1, maximum = 1000 }
optimizer = { enum = ["adam", "sgd"], default = "adam" }
nesterov = { type = "boolean", default = false }
label = { type = "string", default = "", title = "Label" }
[metrics.val_accuracy]
title = "Validation accuracy"
"""


@pytest.fixture(autouse=True)
def digits(tmp_path: Path, settings: Settings) -> Path:
    settings.PROGRAMS_DIR = tmp_path
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "program.toml").write_text(MANIFEST)
    return folder / "program.toml"


@pytest.fixture
def digits_job(ada: User, digits: Path) -> Job:
    return lifecycle.submit(
        ada, None, get_program("digits").parameters(epochs=3), "Mine", program="digits"
    )


def test_form_of_a_program_starts_a_job(page: Client) -> None:
    html = page.get("/jobs/new?program=digits").content.decode()
    assert "Handwritten digits." in html
    assert 'name="optimizer"' in html
    assert 'name="dataset"' not in html
    answer = page.post(
        "/jobs/new?program=digits",
        {"epochs": 5, "optimizer": "sgd", "label": "", "project": "Vision", "needs": "cpu",
         "priority": 0, "processes": 1, "name": "First"},
    )  # fmt: skip
    assert answer.status_code == 303
    job = Job.objects.get()
    assert job.program == "digits"
    assert job.config == {"epochs": 5, "optimizer": "sgd", "nesterov": False, "label": ""}
    assert job.project is not None
    assert job.project.name == "Vision"


def test_invalid_parameter_is_shown_at_its_field(page: Client) -> None:
    answer = page.post("/jobs/new?program=digits", {"epochs": 0, "optimizer": "sgd"})
    assert answer.status_code == 400
    assert not Job.objects.exists()


def test_unknown_program_has_no_form(page: Client) -> None:
    assert page.get("/jobs/new?program=gone").status_code == 404


def report(job: Job, epoch: int, **metrics: float | None) -> None:
    claimed = attempts.claim(job.pk, "worker")
    assert claimed
    attempts.record_epochs(claimed[0], EpochReport(epoch, dict(metrics), 1.0, True, ""))


def test_page_of_a_job_has_a_chart_for_each_reported_metric(page: Client, digits_job: Job) -> None:
    report(digits_job, 1, val_accuracy=0.5, train_loss=1.5, val_loss=2.5)
    html = page.get(f"/jobs/{digits_job.pk}").content.decode()
    assert "Validation accuracy" in html
    assert ">Loss</h2>" in html
    assert "Cramér" not in html


@pytest.mark.parametrize("path", ["/jobs", "/jobs/{}", "/jobs/{}/epochs", "/jobs/{}/edit"])
def test_pages_work_when_the_program_was_removed(
    page: Client, digits_job: Job, digits: Path, path: str
) -> None:
    report(digits_job, 1, val_accuracy=0.5, other=float("nan") and None)
    digits.unlink()
    assert page.get(path.format(digits_job.pk)).status_code == 200


def test_compare_shows_jobs_of_different_programs(page: Client, digits_job: Job, job: Job) -> None:
    assert page.get(f"/compare?job={digits_job.pk}&job={job.pk}").status_code == 200


def test_form_of_a_program_starts_a_sweep(page: Client) -> None:
    answer = page.post(
        "/sweeps/new?program=digits",
        {"name": "Search", "method": "grid", "max_parallel": 2, "objective": "val_accuracy",
         "seed": 0, "early_stopping_rule": "none", "early_stopping_warmup_epochs": 1,
         "early_stopping_min_trials": 1, "vary_epochs": "1, 2", "base_epochs": 3,
         "base_optimizer": "adam", "base_label": "", "base_needs": "cpu", "base_priority": 0,
         "base_processes": 1},
    )  # fmt: skip
    assert answer.status_code == 303, answer.content.decode()
    sweep = Sweep.objects.get()
    assert (sweep.program, sweep.total_trials, sweep.dataset) == ("digits", 2, None)
    assert page.get(f"/sweeps/{sweep.pk}").status_code == 200
    assert page.get("/sweeps").status_code == 200


def test_page_of_a_program_shows_parameters_jobs_and_the_best(
    page: Client, digits_job: Job
) -> None:
    report(digits_job, 1, val_accuracy=0.75)
    html = page.get("/programs/digits").content.decode()
    assert "at least 1, at most 1000" in html
    assert "adam, sgd" in html
    assert "0.7500" in html
    assert page.get("/programs/gone").status_code == 404


def test_broken_manifest_is_shown_in_the_list_of_programs(page: Client, digits: Path) -> None:
    assert "Handwritten digits." in page.get("/programs").content.decode()
    digits.write_text(MANIFEST.replace("title =", "titel =", 1))
    html = page.get("/programs").content.decode()
    assert "Program digits cannot be used." in html
    assert "did you mean &#x27;title&#x27;?" in html


def test_curves_of_a_sweep_that_maximizes_are_those_of_the_largest_values(
    page: Client, ada: User, digits_job: Job
) -> None:
    sweep = Sweep.objects.create(
        owner=ada,
        name="S",
        program="digits",
        objective="val_accuracy",
        method="random",
        space={"epochs": {"min": 1, "max": 99}},
        total_trials=12,
        early_stopping={"rule": "none"},
        max_parallel=1,
        seed=0,
    )
    made = Job.objects.bulk_create(
        Job(
            owner=ada, program="digits", sweep=sweep, trial=trial, config=digits_job.config,
            status="completed", best_epoch=1, best_value=trial / 100,
            objective_metric="val_accuracy", objective_direction="maximize",
            updated_at=digits_job.updated_at,
        )
        for trial in range(1, 13)
    )  # fmt: skip
    shown = page.get(f"/sweeps/{sweep.pk}").context["compare"]
    assert shown == ",".join(str(job.pk) for job in made[-8:])
