"""Rows contain paths relative to the data folder, so a moved folder works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from training.events.store import frames
from training.jobs import attempts, directories, results
from training.jobs.attempts import Attempt, EpochReport
from training.models import Dataset, Job
from training.models.path_field import to_absolute, to_relative


def stored(table: str, column: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table} ORDER BY 1")  # noqa: S608
        return [row[0] for row in cursor.fetchall()]


def test_dataset_is_found_after_the_folder_was_moved(
    dataset: Dataset, settings: Settings, tmp_path: Path
) -> None:
    assert stored("training_dataset", "path") == [f"datasets/{dataset.pk}.safetensors"]
    (tmp_path / "datasets").mkdir()
    shutil.copy(dataset.path, tmp_path / "datasets")
    settings.DATA_DIR = tmp_path
    dataset.refresh_from_db()
    assert dataset.path == f"{tmp_path}/datasets/{dataset.pk}.safetensors"
    assert Path(dataset.path).exists()


def test_checkpoint_of_job_and_events_is_below_the_new_folder(
    running_attempt: Attempt, settings: Settings, tmp_path: Path
) -> None:
    path = directories.attempt_directory(running_attempt.job_id, 1) / "epoch-000001.safetensors"
    attempts.record_epochs(running_attempt, EpochReport(1, {}, 0.1, True, str(path)))
    results.pause_attempt(running_attempt)
    inside = path.relative_to(settings.DATA_DIR)
    assert stored("training_job", "checkpoint_path") == [str(inside)]
    settings.DATA_DIR = tmp_path
    assert Job.objects.get().checkpoint_path == f"{tmp_path}/{inside}"
    last = frames(running_attempt.job_id, 0, 100)[-1]
    assert f'"checkpoint_path":"{tmp_path}/{inside}"'.encode() in last.body


def test_absolute_path_of_an_earlier_version_resolves_to_the_new_folder(
    settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    inside = "jobs/0f0e4b1c-8a3c-4b52-9d0e-0a6f3c1f2b11/attempt-001/best-000003.safetensors"
    assert to_absolute(f"/srv/old/{inside}") == f"{tmp_path}/{inside}"


@pytest.mark.parametrize("path", ["", "/elsewhere/model.safetensors"])
def test_path_outside_the_data_folder_is_unchanged(path: str) -> None:
    assert to_absolute(to_relative(path)) == path
