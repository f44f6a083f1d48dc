"""Removing the files of deleted rows, however the rows are deleted.

The transaction that deletes a row stores which files are to go. They are removed right after its
commit; after a crash in between, maintenance or `manage.py prune` removes them.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Model

# Deleting a user deletes jobs and datasets by cascade, without calling our functions.
from django.db.models.signals import post_delete  # noqa: TID251

from training.models import Dataset, FileRemoval, Job
from training.storage.disk_usage import disk_bytes

log = logging.getLogger(__name__)


def connect_signals() -> None:
    post_delete.connect(_remove_job, sender=Job, dispatch_uid="file removal")
    post_delete.connect(_remove_dataset, sender=Dataset, dispatch_uid="file removal")


def _remove_job(instance: Model, **_: object) -> None:
    _schedule(f"jobs/{instance.pk}")


def _remove_dataset(instance: Dataset, **_: object) -> None:
    schedule_dataset(instance.pk)


def schedule_dataset(dataset_id: UUID) -> None:
    """Remove the files of the dataset when the transaction commits."""
    _schedule(f"datasets/{dataset_id}.*")


def _schedule(pattern: str) -> None:
    removal = FileRemoval.objects.create(path=pattern)
    transaction.on_commit(partial(finish, removal))


def finish(removal: FileRemoval) -> int:
    """Return the freed bytes. What cannot be removed now is tried again later."""
    freed = 0
    with contextlib.suppress(OSError):
        for path in matching(removal):
            freed += remove(path)
        removal.delete()
    return freed


def matching(removal: FileRemoval) -> list[Path]:
    return sorted(Path(settings.DATA_DIR).glob(removal.path))


def remove(path: Path) -> int:
    """Remove a file or a folder; return the bytes that this frees."""
    freed = disk_bytes(path)
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return freed


def remove_each(paths: Iterable[Path]) -> Iterator[int]:
    """The freed bytes of each path; one that cannot be removed is logged and left."""
    for path in paths:
        try:
            yield remove(path)
        except OSError as error:
            log.warning("Cannot remove %s: %s", path, error)
