"""Files of the data folder without a row, as a crash or a restored database leaves them.

With the wrong database every file is one. So the folder and the database both hold the number of
the installation, and without agreement nothing is removed.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from django.conf import settings

from training.jobs.artifacts import SAVED
from training.models import Dataset, Job, RetentionState
from training.programs.durable_write import is_temporary, write_durably
from training.retention.removed import NOTHING, Removed
from training.storage.disk_usage import disk_bytes
from training.storage.file_removal import remove_each

BATCH = 200
# A dataset's file is written before its row, a temporary file before it is renamed.
MIN_AGE_SECONDS = 3600

log = logging.getLogger(__name__)


class ForeignFolderError(Exception):
    """The data folder belongs to another database."""


def check_installation() -> None:
    """Raise ForeignFolderError unless the data folder and the database belong together."""
    path = Path(settings.DATA_DIR) / "installation"
    state, _ = RetentionState.objects.get_or_create(pk=1)
    written = path.read_text("ascii").strip() if path.exists() else ""
    if written and written == str(state.installation):
        return
    if written or (_has_files() and not _has_rows()):
        raise ForeignFolderError(
            f"The data folder {settings.DATA_DIR} belongs to another database than this one: files "
            f"without a row are kept. Check DATABASE_URL and HEIMDALL_DATA_DIR; if they are right, "
            f"delete {path} once this database has jobs or datasets."
        )
    number = state.installation or uuid.uuid4()
    RetentionState.objects.filter(pk=1).update(installation=number)
    write_durably((path, f"{number}\n".encode()))


def _has_files() -> bool:
    folder = Path(settings.DATA_DIR)
    return any(True for name in ("jobs", "datasets") for _ in folder.glob(f"{name}/*"))


def _has_rows() -> bool:
    return Job.objects.exists() or Dataset.objects.exists()


def steps(*, dry_run: bool) -> Iterator[Removed]:
    try:
        check_installation()
    except ForeignFolderError as error:
        log.warning("%s", error)
        return
    for folder in _batches("jobs"):
        found = {path: _identifier(path) for path in folder}
        known = set(
            Job.objects.filter(pk__in=list(filter(None, found.values()))).values_list(
                "pk", flat=True
            )
        )
        for path, pk in found.items():
            if pk not in known:
                yield from _remove("orphaned folders of jobs", path, dry_run)
            else:
                yield from _leftovers(path, dry_run)
        yield NOTHING
    for folder in _batches("datasets"):
        found = {path: _identifier(path) for path in folder}
        known = set(
            Dataset.objects.filter(pk__in=list(filter(None, found.values()))).values_list(
                "pk", flat=True
            )
        )
        for path, pk in found.items():
            if pk not in known and _is_old(path):
                yield from _remove("orphaned files of datasets", path, dry_run)
        yield NOTHING


def _batches(name: str) -> Iterator[tuple[Path, ...]]:
    """Entries named like a row, listed before the rows are read; others are left alone."""
    folder = Path(settings.DATA_DIR) / name
    paths = (path for path in sorted(folder.glob("*")) if _identifier(path) is not None)
    return _batched(paths)


def _batched(paths: Iterator[Path]) -> Iterator[tuple[Path, ...]]:
    batch: list[Path] = []
    for path in paths:
        batch.append(path)
        if len(batch) == BATCH:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)


def _identifier(path: Path) -> uuid.UUID | None:
    try:
        return uuid.UUID(path.name.partition(".")[0])
    except ValueError:
        return None


def _leftovers(folder: Path, dry_run: bool) -> Iterator[Removed]:
    """Temporary files of a process that was killed while it wrote."""
    of_run = (path for path in folder.glob(f"attempt-*/{SAVED}/**/*.part") if is_temporary(path))
    for path in chain(folder.glob("attempt-*/*.part"), of_run):
        if path.is_file() and _is_old(path):
            yield from _remove("temporary files", path, dry_run)


def _remove(kind: str, path: Path, dry_run: bool) -> Iterator[Removed]:
    for size in [disk_bytes(path)] if dry_run else remove_each([path]):
        yield Removed(kind, 1, size)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > MIN_AGE_SECONDS
    except FileNotFoundError:
        return False
