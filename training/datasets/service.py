"""Datasets come in whole or not at all: the file first, then the row that names it."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.files import File
from django.db import transaction
from django.db.models import ProtectedError

from training.accounts import audit
from training.localization.config import ImportConfig
from training.localization.data.dataset import Dataset as Arrays
from training.localization.evaluation.dataset_summary import summarize as describe
from training.localization.importing import importer
from training.localization.importing.importer import DatasetImportError
from training.models import Dataset

DEFAULT_IMPORT = ImportConfig()


class DatasetInUseError(Exception):
    """Jobs name the dataset, so it cannot go."""


class ArchiveTooLargeError(DatasetImportError):
    """More bytes than are taken."""


def import_folder(
    owner: User, name: str, folder: Path, config: ImportConfig = DEFAULT_IMPORT
) -> Dataset:
    """Import measured data (`localization.importing.importer` has the format and its errors)."""
    return store_dataset(owner, name, importer.read_folder(folder, config=config))


def read_zip(archive: Path, config: ImportConfig = DEFAULT_IMPORT) -> Arrays:
    """The same data from a zip of the folder, not yet stored."""
    with tempfile.TemporaryDirectory(prefix="import-") as workspace:
        return importer.read_zip(archive, Path(workspace), settings.UPLOAD_MAX_BYTES, config)


def read_upload(file: File[Any], config: ImportConfig = DEFAULT_IMPORT) -> Arrays:
    """The same, from an upload."""
    if file.size > settings.UPLOAD_MAX_BYTES:
        raise ArchiveTooLargeError(
            f"The file has {file.size:,} bytes; at most {settings.UPLOAD_MAX_BYTES:,} are taken"
        )
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        archive = Path(folder) / "upload.zip"
        with archive.open("wb") as kept:
            for chunk in file.chunks():
                kept.write(chunk)
        return read_zip(archive, config)


def import_upload(
    owner: User, name: str, file: File[Any], config: ImportConfig = DEFAULT_IMPORT
) -> Dataset:
    """Import an upload."""
    return store_upload(owner, name, file, read_upload(file, config))


def store_upload(owner: User, name: str, file: File[Any], arrays: Arrays) -> Dataset:
    """Keep what was read of an upload, and who brought it."""
    dataset = store_dataset(owner, name, arrays)
    audit.record("import", dataset, owner.username, bytes=file.size, sha256=dataset.content_hash)
    return dataset


def store_dataset(owner: User, name: str, arrays: Arrays) -> Dataset:
    """Keep the arrays in the data folder, and a row that names them."""
    pk = uuid.uuid4()
    path = Path(settings.DATA_DIR) / "datasets" / f"{pk}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays.save(path)
    facts = describe(arrays)
    try:
        return Dataset.objects.create(
            id=pk,
            owner=owner,
            name=name,
            kind=arrays.kind,
            status=Dataset.State.READY,
            path=str(path),
            content_hash=arrays.content_hash,
            samples=facts["samples"],
            facts=facts,
        )
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def share_dataset(dataset: Dataset, team: Group | None) -> None:
    """Let the team's members use it too; None: nobody but its owner."""
    with transaction.atomic():
        audit.record("share", dataset, team=str(team or ""))
        dataset.team = team
        dataset.save(update_fields=["team"])


def delete_dataset(dataset: Dataset) -> None:
    """Forget a dataset that no job names, and its file."""
    try:
        with transaction.atomic():
            audit.record("delete", dataset)
            dataset.delete()
    except ProtectedError as error:
        raise DatasetInUseError(
            f"Dataset {dataset.name!r} is named by {len(error.protected_objects)} job(s) or "
            "sweep(s); delete those first."
        ) from error
    if dataset.path:
        Path(dataset.path).unlink(missing_ok=True)
