"""Storing and deleting datasets: the file and the row stay consistent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError

from training.datasets import service
from training.datasets.service import ArchiveTooLargeError, DatasetInUseError
from training.localization.data.dataset import Dataset as Arrays
from training.localization.program import to_read_dataset
from training.models import AuditEntry, Dataset, Job
from training.programs.datasets import DatasetImportError
from training.validation import InvalidInputError


def files(settings: Any) -> list[Path]:
    return list((Path(settings.DATA_DIR) / "datasets").glob("*"))


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def test_row_describes_the_stored_file(ada: User, arrays: Arrays) -> None:
    stored = service.store_dataset(ada, "Small", to_read_dataset(arrays))
    read = Arrays.load(Path(stored.path))
    assert read.content_hash == stored.content_hash == arrays.content_hash
    assert stored.samples == len(arrays)
    assert stored.status == Dataset.State.READY


def test_file_is_removed_if_its_row_cannot_be_created(
    ada: User, arrays: Arrays, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise IntegrityError("no owner")

    monkeypatch.setattr(Dataset.objects, "create", fail)
    with pytest.raises(IntegrityError):
        service.store_dataset(ada, "Small", to_read_dataset(arrays))
    assert files(settings) == []


def test_dataset_in_use_keeps_row_and_file_without_an_audit_entry(
    job: Job, dataset: Dataset
) -> None:
    with pytest.raises(
        DatasetInUseError, match=rf"'Small' is used by job 'First' of ada \({job.pk}\)"
    ):
        service.delete_dataset(dataset)
    assert Path(dataset.path).exists()
    assert not AuditEntry.objects.filter(action="delete").exists()


def test_deleted_dataset_leaves_no_file(
    dataset: Dataset, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        service.delete_dataset(dataset)
    assert files(settings) == []
    assert AuditEntry.objects.filter(action="delete").count() == 1


def test_dataset_without_a_file_can_be_deleted(ada: User) -> None:
    service.delete_dataset(Dataset.objects.create(owner=ada, name="Failed", kind="synthetic"))
    assert not Dataset.objects.exists()


def test_sharing_is_audited_with_the_team(dataset: Dataset) -> None:
    service.share_dataset(dataset, Group.objects.create(name="Lab"))
    service.share_dataset(dataset, None)
    details = AuditEntry.objects.filter(action="share").order_by("id").values_list("detail")
    assert [detail for (detail,) in details] == [{"team": "Lab"}, {"team": ""}]
    assert Dataset.objects.get().team is None


def test_upload_above_the_limit_is_refused_before_it_is_read(ada: User, settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 10
    upload = SimpleUploadedFile("a.zip", b"x" * 11)
    with pytest.raises(ArchiveTooLargeError, match="The file has 11 bytes; the limit is 10"):
        service.import_upload(ada, "Large", upload)


def test_upload_that_is_not_a_zip_leaves_no_file(ada: User, settings: Any) -> None:
    upload = SimpleUploadedFile("a.zip", b"no zip")
    with pytest.raises(DatasetImportError, match="This is not a valid zip file"):
        service.import_upload(ada, "Bad", upload)
    assert files(settings) == []
    assert not Dataset.objects.exists()


def test_invalid_import_option_names_its_field() -> None:
    with pytest.raises(InvalidInputError) as refused:
        service.import_options({"split_by": "luck"})
    assert list(refused.value.errors) == ["split_by"]
