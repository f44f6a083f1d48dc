"""Import, store, share and delete datasets. The file is written before its row is created."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.files import File
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import transaction
from django.db.models import Model, ProtectedError
from pydantic import BaseModel

from training.accounts import audit, limits
from training.datasets.import_process import (
    preview_in_process,
    read_in_process,
    read_readings_in_process,
)
from training.models import Dataset
from training.programs.datasets import (
    DatasetFormat,
    DatasetImportError,
    ImportPreview,
    ReadDataset,
    Upload,
)
from training.programs.readings import ReadingOptions, ReadingTable
from training.programs.registry import get_program
from training.storage.disk_usage import dataset_bytes
from training.validation import validate

MAX_NAMED = 10  # jobs and sweeps in a message


class DatasetInUseError(Exception):
    """Jobs or sweeps use the dataset, so it cannot be deleted."""


class ArchiveTooLargeError(DatasetImportError):
    """The upload exceeds UPLOAD_MAX_BYTES."""


def _format() -> DatasetFormat[Any, Any]:
    return get_program().dataset_format


def import_options(sent: Mapping[str, object]) -> BaseModel:
    options: BaseModel = validate(_format().import_options, sent)
    return options


def read_folder(folder: Path, options: BaseModel | None = None) -> ReadDataset:
    """Read a folder of tables without storing it; raises DatasetImportError."""
    return _format().read_folder(folder, options or import_options({}))


@contextmanager
def read_upload(
    owner: User, file: File[Any], options: BaseModel | None = None
) -> Iterator[ReadDataset]:
    """Read an upload; what was read can be stored until the context ends.

    LimitReachedError if the owner has other imports under way.
    """
    with transaction.atomic():
        limits.require(owner, limits.STORED_BYTES)  # before the work of reading it
    with (
        _receive(owner, file) as upload,
        read_in_process(upload, options or import_options({})) as read,
    ):
        yield read


def preview_upload(owner: User, file: File[Any], options: BaseModel | None = None) -> ImportPreview:
    """Preview an import without storing it. Raises LimitReachedError like an import."""
    with _receive(owner, file) as upload:
        return preview_in_process(upload, options or import_options({}))


def read_readings(user: User, file: File[Any], options: ReadingOptions) -> ReadingTable:
    """Read readings at unknown positions. Raises LimitReachedError and DatasetImportError."""
    with _receive(user, file) as upload:
        return read_readings_in_process(upload, options)


@contextmanager
def _receive(owner: User, file: File[Any]) -> Iterator[Upload]:
    if file.size > settings.UPLOAD_MAX_BYTES:
        raise ArchiveTooLargeError(
            f"The file has {file.size:,} bytes; the limit is {settings.UPLOAD_MAX_BYTES:,}"
        )
    name = Path(file.name or "file").name
    with limits.importing(owner):
        if isinstance(file, TemporaryUploadedFile):
            yield Upload(Path(file.temporary_file_path()), name)
            return
        with tempfile.NamedTemporaryFile(prefix="upload-") as copy:
            for chunk in file.chunks():
                copy.write(chunk)
            copy.flush()
            yield Upload(Path(copy.name), name)


def import_upload(
    owner: User, name: str, file: File[Any], options: BaseModel | None = None
) -> Dataset:
    with read_upload(owner, file, options) as read:
        return store_upload(owner, name, file, read)


def store_upload(owner: User, name: str, file: File[Any], read: ReadDataset) -> Dataset:
    dataset = store_dataset(owner, name, read)
    audit.record("import", dataset, owner.username, bytes=file.size, sha256=dataset.content_hash)
    return dataset


def store_dataset(owner: User, name: str, read: ReadDataset) -> Dataset:
    pk = uuid.uuid4()
    path = Path(settings.DATA_DIR) / "datasets" / f"{pk}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    read.save(path)
    try:
        size = dataset_bytes(pk)
        with transaction.atomic():
            limits.require(owner, limits.STORED_BYTES, adding=size)
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
                disk_bytes=size,
            )
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def share_dataset(dataset: Dataset, team: Group | None) -> None:
    with transaction.atomic():
        audit.record("share", dataset, team=str(team or ""))
        dataset.team = team
        dataset.save(update_fields=["team"])


def _describe_holder(row: Model) -> str:
    """Include the owner, whom another user has to ask to delete it."""
    owner: User = row.owner  # type: ignore[attr-defined]
    kind = type(row).__name__.lower()
    return f"{kind} {str(row)!r} of {owner.username} ({row.pk})"


def delete_dataset(dataset: Dataset) -> None:
    """Delete the dataset and its file; raises DatasetInUseError if a job or sweep uses it."""
    try:
        with transaction.atomic():
            audit.record("delete", dataset)
            dataset.delete()
    except ProtectedError as error:
        holders = sorted(map(_describe_holder, error.protected_objects))
        more = len(holders) - MAX_NAMED
        named = ", ".join(holders[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise DatasetInUseError(
            f"Dataset {dataset.name!r} is used by {named}; delete those first."
        ) from error
