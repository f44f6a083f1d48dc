"""Files of deleted rows are removed, also after a crash between commit and removal."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from pytest_django import DjangoCaptureOnCommitCallbacks

from training.datasets import service as datasets
from training.jobs import directories
from training.models import Dataset, FileRemoval, Job
from training.retention import run
from training.storage import file_removal


@pytest.fixture
def folder(job: Job) -> Path:
    """The folder of `job`, with a file of two blocks."""
    attempt = directories.attempt_directory(job.pk, 1)
    attempt.mkdir(parents=True)
    (attempt / "trainer.log").write_bytes(b"x" * 8192)
    return directories.job_directory(job.pk)


def test_deleting_a_user_removes_the_files_of_the_jobs(
    ada: User, dataset: Dataset, folder: Path,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:  # fmt: skip
    with django_capture_on_commit_callbacks(execute=True):
        Job.objects.all().delete()
        ada.delete()
    assert not folder.exists() and not Path(dataset.path).exists()


def test_deleting_a_dataset_leaves_files_of_others(
    dataset: Dataset, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    other = Path(settings.DATA_DIR) / "datasets" / f"x{dataset.pk}.safetensors"
    other.touch()
    with django_capture_on_commit_callbacks(execute=True):
        datasets.delete_dataset(dataset)
    assert not Path(dataset.path).exists() and other.exists()
    assert not FileRemoval.objects.exists()


def test_files_are_removed_if_the_process_crashed_after_the_commit(job: Job, folder: Path) -> None:
    job.delete()  # in a test nothing runs on commit
    assert folder.exists()
    (removed,) = run.finish_removals(dry_run=True)
    assert (removed.count, removed.bytes >= 8192, folder.exists()) == (1, True, True)
    assert list(run.finish_removals()) == [removed]
    assert not folder.exists()
    assert list(run.finish_removals()) == []


def test_failed_removal_is_retried(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> int:
        raise PermissionError(path)

    job.delete()
    with monkeypatch.context() as patched:
        patched.setattr(file_removal, "remove", refuse)
        list(run.finish_removals())
    assert FileRemoval.objects.count() == 1
    list(run.finish_removals())
    assert not folder.exists()


def test_rolled_back_deletion_keeps_the_files(
    job: Job, folder: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    from django.db import transaction

    with django_capture_on_commit_callbacks(execute=True):
        try:
            with transaction.atomic():
                job.delete()
                raise RuntimeError
        except RuntimeError:
            pass
    list(run.finish_removals())
    assert folder.exists()
