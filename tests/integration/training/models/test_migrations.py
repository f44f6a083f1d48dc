"""A database of version 0.1 migrates, and its paused job continues."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps.registry import Apps
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from pytest_django import Settings

from training.jobs import attempts, lifecycle
from training.jobs.objective import value_at_best_epoch
from training.localization.config import TrainConfig
from training.models import Dataset, Job, Project, Sweep, TrainedModel

VERSION_0_1 = [("training", "0007_parameters_with_rmse")]
POLICY = {"needs": "cpu", "priority": 5, "processes": 1}
pytestmark = pytest.mark.django_db(transaction=True)


def migrate(targets: list[tuple[str, str]]) -> Apps:
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return executor.loader.project_state(targets).apps


def newest() -> list[tuple[str, str]]:
    return list(MigrationExecutor(connection).loader.graph.leaf_nodes("training"))


@pytest.fixture
def version_0_1(ada: User) -> Iterator[Apps]:
    yield migrate(VERSION_0_1)
    migrate(newest())


def old_job(apps: Apps, owner: User, dataset: Any, **values: Any) -> Any:
    config = {**TrainConfig(epochs=5).model_dump(mode="json"), **POLICY}
    # Not the model of today, which the plugin of mypy takes it for.
    old_model: Any = apps.get_model("training", "Job")
    return old_model.objects.create(
        id=uuid.uuid4(),
        owner_id=owner.pk,
        kind="training",
        dataset=dataset,
        config=config,
        needs="cpu",
        priority=5,
        total_epochs=5,
        current_epoch=3,
        best_epoch=2,
        best_val_loss=0.5,
        best_val_rmse=120.0,
        seq=7,
        attempt=1,
        updated_at=timezone.now(),
        **values,
    )


def test_paused_job_of_version_0_1_keeps_its_result_and_continues(
    version_0_1: Apps, ada: User
) -> None:
    dataset = version_0_1.get_model("training", "Dataset").objects.create(
        id=uuid.uuid4(), owner_id=ada.pk, name="Old", kind="synthetic", status="ready", samples=240
    )
    paused = old_job(version_0_1, ada, dataset, status="paused", checkpoint_path="/c/epoch-3")
    completed = old_job(version_0_1, ada, dataset, status="completed")
    version_0_1.get_model("training", "TrainedModel").objects.create(
        job=completed, checkpoint_path="/c/best", evaluation={"test": {"rmse_m": 118.0}}
    )
    version_0_1.get_model("training", "Epoch").objects.create(
        job=paused, epoch=3, metrics={"val_loss": 0.6, "val_rmse": 130.0}, seconds=1, attempt=1,
        at=timezone.now(),
    )  # fmt: skip
    sweep = version_0_1.get_model("training", "Sweep").objects.create(
        id=uuid.uuid4(), owner_id=ada.pk, name="Old", dataset=dataset, method="random",
        config={"epochs": 5, "needs": "cpu"}, space={"hidden": {"values": [16, 32]}},
        max_parallel=1, objective="val_rmse", early_stopping={}, total_trials=2,
    )  # fmt: skip

    migrate(newest())

    job = Job.objects.get(pk=paused.pk)
    assert (job.program, job.objective_metric, job.objective_direction) == (
        "localizer", "val_loss", "minimize",
    )  # fmt: skip
    assert value_at_best_epoch(job, "val_loss") == 0.5
    assert value_at_best_epoch(job, "val_rmse") == 120.0
    assert (job.needs, job.priority, job.processes) == ("cpu", 5, 1)
    assert TrainConfig.model_validate(job.config) == TrainConfig(epochs=5)
    assert job.epochs.get().metrics["val_rmse"] == 130.0
    assert TrainedModel.objects.get(job_id=completed.pk).evaluation["test"]["rmse_m"] == 118.0
    migrated = Sweep.objects.get(pk=sweep.pk)
    assert (migrated.config, migrated.policy) == ({"epochs": 5}, {"needs": "cpu"})
    assert Dataset.objects.get(pk=dataset.pk).status == Dataset.State.READY

    lifecycle.resume(job, "ada")
    claimed = attempts.claim(job.pk, "worker")
    assert claimed is not None
    attempt, running = claimed
    assert (attempt.number, running.seq, running.checkpoint_path) == (2, 9, "/c/epoch-3")


def test_migration_cleans_existing_texts_that_some_databases_cannot_store(ada: User) -> None:
    before = [("training", "0021_claims")]
    apps = migrate(before)
    try:
        jobs: Any = apps.get_model("training", "Job")
        job = jobs.objects.create(
            owner_id=ada.pk,
            name="Mu\u0308nchen\0",
            notes="a\0b",
            tags=["x\0"],
            updated_at=timezone.now(),
        )
        projects: Any = apps.get_model("training", "Project")
        names = {"caf\u00e9": "caf\u00e9", "cafe\u0301": "caf\u00e9 ", "\u200b": ""}
        made = {
            projects.objects.create(owner_id=ada.pk, name=name).pk: expected
            for name, expected in names.items()
        }
    finally:
        migrate(newest())
    found = Job.objects.get(pk=job.pk)
    assert (found.name, found.notes, found.tags) == ("M\u00fcnchen\ufffd", "a\ufffdb", ["x\ufffd"])
    for pk, expected in made.items():
        name = Project.objects.get(pk=pk).name
        assert name == (f"{expected}{pk}" if expected != "caf\u00e9" else expected)


def test_tags_of_imported_jobs_become_external_ids(ada: User, bob: User) -> None:
    apps = migrate([("training", "0028_trackio")])
    jobs: Any = apps.get_model("training", "Job")

    def create(owner: User, *tags: str, reported: bool = True) -> uuid.UUID:
        job = jobs.objects.create(
            owner_id=owner.pk, tags=list(tags), reported=reported, updated_at=timezone.now()
        )
        return uuid.UUID(str(job.pk))

    try:
        marked = create(ada, "night", "import:mlflow:1", "day")
        again = create(ada, "import:mlflow:1")
        of_another = create(bob, "import:mlflow:1")
        with_two = create(ada, "import:a", "import:b")
        not_reported = create(ada, "import:c", reported=False)
        untagged = create(ada)
    finally:
        migrate(newest())
    found = {job.pk: (job.external_id, job.tags) for job in Job.objects.all()}
    assert found == {
        marked: ("import:mlflow:1", ["night", "day"]),
        again: ("", ["import:mlflow:1"]),
        of_another: ("import:mlflow:1", []),
        with_two: ("", ["import:a", "import:b"]),
        not_reported: ("", ["import:c"]),
        untagged: ("", []),
    }


def test_active_job_of_a_program_without_checkpoints_still_cannot_be_paused(
    ada: User, settings: Settings, tmp_path: Path
) -> None:
    settings.PROGRAMS_DIR = tmp_path
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "train.py").touch()
    (tmp_path / "digits" / "program.toml").write_text(
        'title = "Digits"\ncommand = ["python", "train.py"]\nresumable = false\n'
    )
    apps = migrate([("training", "0029_external_ids")])
    jobs: Any = apps.get_model("training", "Job")

    def create(program: str, status: str = "running") -> uuid.UUID:
        job = jobs.objects.create(
            owner_id=ada.pk, kind="training", program=program, status=status,
            updated_at=timezone.now(),
        )  # fmt: skip
        return uuid.UUID(str(job.pk))

    try:
        running = create("digits")
        expected = {
            running: False,
            create("digits", "queued"): False,
            create("digits", "completed"): True,
            create("localizer"): True,
            create("removed"): True,
        }
    finally:
        migrate(newest())
    assert {job.pk: job.resumable for job in Job.objects.all()} == expected
    with pytest.raises(lifecycle.NotResumableError):
        lifecycle.request_pause(Job.objects.get(pk=running), "ada")


def test_migration_adds_texts_to_existing_configurations(ada: User) -> None:
    apps = migrate([("training", "0030_job_resumable")])
    jobs: Any = apps.get_model("training", "Job")
    try:
        for config in ({}, {"lr": 1e-05, "portfolio": True, "model": "mlp"}):
            jobs.objects.create(owner_id=ada.pk, config=config, updated_at=timezone.now())
    finally:
        migrate(newest())
    texts = [job.config_texts for job in Job.objects.order_by("created_at")]
    assert texts == [{}, {"lr": "1e-05", "portfolio": "True"}]
