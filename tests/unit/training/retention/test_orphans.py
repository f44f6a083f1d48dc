"""Files without a row are removed, unless the folder belongs to another database."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from training.jobs import directories
from training.models import Dataset, Job, RetentionState
from training.retention import orphans
from training.storage.disk_usage import measure


@pytest.fixture
def data(tmp_path: Path, settings: Settings) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def apply(*, dry_run: bool = False) -> dict[str, int]:
    return {step.kind: step.count for step in orphans.steps(dry_run=dry_run) if step.count}


def touch(path: Path, age: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 4096)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.django_db
def test_only_files_without_a_row_are_removed(data: Path, dataset: Dataset, job: Job) -> None:
    kept = touch(directories.attempt_directory(job.pk, 1) / "trainer.log")
    strange = touch(data / "jobs" / "notes.txt", 9999)
    young = touch(data / f"datasets/{uuid.uuid4()}.safetensors")  # of a running import
    orphan = touch(data / f"jobs/{uuid.uuid4()}/attempt-001/epoch-000001.safetensors")
    old = touch(data / f"datasets/{uuid.uuid4()}.safetensors", 9999)
    part = touch(directories.attempt_directory(job.pk, 1) / "model.safetensors.9.part", 9999)
    expected = {
        "orphaned folders of jobs": 1, "orphaned files of datasets": 1, "temporary files": 1,
    }  # fmt: skip
    assert apply(dry_run=True) == expected
    assert apply() == expected
    assert kept.exists() and strange.exists() and young.exists() and Path(dataset.path).exists()
    assert not orphan.parents[1].exists() and not old.exists() and not part.exists()
    assert apply() == {}


@pytest.mark.django_db
def test_leftovers_of_killed_uploads_are_removed(data: Path, job: Job) -> None:
    folder = directories.attempt_directory(job.pk, 1) / "artifacts"
    number = uuid.uuid4().hex
    old = [touch(folder / name, 9999) for name in (f"x.{number}.part", "plots/.y.png.9.part")]
    kept = [
        touch(folder / f"young.{number}.part"),
        touch(folder / "engine.part", 9999),  # of a script
        touch(folder / f"folder.{number}.part/z.txt", 9999),
    ]
    assert apply().keys() == {"temporary files"}
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in kept)


@pytest.mark.django_db
def test_folder_of_another_database_is_left_alone(
    data: Path, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    orphan = touch(data / f"jobs/{uuid.uuid4()}/attempt-001/trainer.log")
    (data / "installation").write_text(f"{uuid.uuid4()}\n")
    assert apply() == {}
    assert orphan.exists()
    assert "belongs to another database" in caplog.text


@pytest.mark.django_db
def test_empty_database_does_not_empty_a_full_folder(data: Path) -> None:
    orphan = touch(data / f"jobs/{uuid.uuid4()}/attempt-001/trainer.log")
    assert apply() == {}
    assert orphan.exists() and not (data / "installation").exists()


@pytest.mark.django_db
def test_installation_number_is_written_to_a_folder_without_one(data: Path, job: Job) -> None:
    number = uuid.uuid4()
    RetentionState.objects.create(pk=1, installation=number)
    orphans.check_installation()
    assert (data / "installation").read_text() == f"{number}\n"


@pytest.mark.django_db
def test_undeletable_folder_does_not_stop_deletion_of_the_others(
    data: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = sorted(data / "jobs" / str(uuid.uuid4()) for _ in range(3))
    for folder in folders:
        touch(folder / "attempt-001/model.safetensors")
    rmtree = shutil.rmtree

    def refuse(path: Path) -> None:
        if path == folders[0]:
            raise PermissionError("of another user")
        rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    apply()
    assert [folder.exists() for folder in folders] == [True, False, False]


@pytest.mark.django_db
def test_folder_of_another_user_is_not_measured(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as lost+found, where the data folder is the root of a file system."""
    foreign = data / "lost+found"
    foreign.mkdir()
    touch(data / "jobs/notes.txt")
    scandir = os.scandir

    def refuse(path: str | Path) -> Any:
        if Path(path) == foreign:
            raise PermissionError("of another user")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert measure()["jobs"] >= 4096
