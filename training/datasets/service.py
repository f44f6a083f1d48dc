"""Import, store, share and delete datasets. The file is written before its row is created."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.files import File
from django.db import transaction
from django.db.models import ProtectedError
from pydantic import BaseModel

from training.accounts import audit
from training.models import Dataset
from training.programs.datasets import DatasetFormat, DatasetImportError, ReadDataset
from training.programs.registry import get_program
from training.validation import validate


class DatasetInUseError(Exception):
    """Jobs or sweeps use the dataset, so it cannot be deleted."""


class ArchiveTooLargeError(DatasetImportError):
    """The upload exceeds UPLOAD_MAX_BYTES."""


def _format() -> DatasetFormat[Any, Any]:
    return get_program().dataset_format


def import_options(sent: Mapping[str, Any]) -> BaseModel:
    """The validated options of an import; raises InvalidInputError."""
    options: BaseModel = validate(_format().import_options, sent)
    return options


def import_folder(
    owner: User, name: str, folder: Path, options: BaseModel | None = None
) -> Dataset:
    """Import measured data from a folder of tables; raises DatasetImportError."""
    options = options or import_options({})
    return store_dataset(owner, name, _format().read_folder(folder, options))


def read_zip(archive: Path, options: BaseModel | None = None) -> ReadDataset:
    """Read a zip of such a folder without storing it; raises DatasetImportError."""
    with tempfile.TemporaryDirectory(prefix="import-") as workspace:
        limit = settings.UPLOAD_MAX_BYTES
        return _format().read_zip(archive, Path(workspace), limit, options or import_options({}))


def read_upload(file: File[Any], options: BaseModel | None = None) -> ReadDataset:
    """Like `read_zip`, from an upload."""
    if file.size > settings.UPLOAD_MAX_BYTES:
        raise ArchiveTooLargeError(
            f"The file has {file.size:,} bytes; the limit is {settings.UPLOAD_MAX_BYTES:,}"
        )
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        archive = Path(folder) / "upload.zip"
        with archive.open("wb") as target:
            for chunk in file.chunks():
                target.write(chunk)
        return read_zip(archive, options)


def import_upload(
    owner: User, name: str, file: File[Any], options: BaseModel | None = None
) -> Dataset:
    return store_upload(owner, name, file, read_upload(file, options))


def store_upload(owner: User, name: str, file: File[Any], read: ReadDataset) -> Dataset:
    """Store what was read from an upload, with an audit entry."""
    dataset = store_dataset(owner, name, read)
    audit.record("import", dataset, owner.username, bytes=file.size, sha256=dataset.content_hash)
    return dataset


def store_dataset(owner: User, name: str, read: ReadDataset) -> Dataset:
    """Save the dataset to the data folder and create its row."""
    pk = uuid.uuid4()
    path = Path(settings.DATA_DIR) / "datasets" / f"{pk}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    read.save(path)
    try:
        return Dataset.objects.create(
            id=pk,
            owner=owner,
            name=name,
            kind=read.kind,
            status=Dataset.State.READY,
            path=str(path),
            content_hash=read.content_hash,
            samples=read.facts["samples"],
            facts=read.facts,
        )
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def share_dataset(dataset: Dataset, team: Group | None) -> None:
    """Share the dataset with a team; None makes it private."""
    with transaction.atomic():
        audit.record("share", dataset, team=str(team or ""))
        dataset.team = team
        dataset.save(update_fields=["team"])


def delete_dataset(dataset: Dataset) -> None:
    """Delete the dataset and its file; raises DatasetInUseError if a job or sweep uses it."""
    try:
        with transaction.atomic():
            audit.record("delete", dataset)
            dataset.delete()
    except ProtectedError as error:
        raise DatasetInUseError(
            f"Dataset {dataset.name!r} is used by {len(error.protected_objects)} job(s) or "
            "sweep(s); delete those first."
        ) from error
    if dataset.path:
        Path(dataset.path).unlink(missing_ok=True)
