"""Disk usage of the data folder, jobs, datasets and the database."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connection

BLOCK_BYTES = 512  # of st_blocks, independent of the file system's block size


def disk_bytes(path: Path) -> int:
    """The blocks that a file or folder occupies; a log with a hole counts without the hole."""
    return sum(status.st_blocks * BLOCK_BYTES for status in _walk(path))


def _walk(path: Path) -> Iterator[os.stat_result]:
    """Each file and folder, except those that disappear during the walk or cannot be read."""
    try:
        status = path.lstat()
        yield status
        if not stat.S_ISDIR(status.st_mode):
            return
        with os.scandir(path) as entries:
            found = list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in found:
        yield from _walk(Path(entry.path))


def job_bytes(job_id: UUID) -> int:
    return disk_bytes(Path(settings.DATA_DIR) / "jobs" / str(job_id))


def dataset_bytes(dataset_id: UUID) -> int:
    return sum(map(disk_bytes, (Path(settings.DATA_DIR) / "datasets").glob(f"{dataset_id}.*")))


def free_bytes() -> int:
    """What this user can still write to the data folder."""
    return shutil.disk_usage(settings.DATA_DIR).free


def database_bytes() -> int:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(cursor.fetchone()[0])


def table_bytes() -> dict[str, int]:
    """The size of each table with its indexes, where the database knows it."""
    if connection.vendor != "postgresql":
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        )
        return dict(cursor.fetchall())


def measure() -> dict[str, int]:
    """Bytes by what uses them; walks the whole data folder."""
    folder = Path(settings.DATA_DIR)
    sizes = {name: disk_bytes(folder / name) for name in ("datasets", "jobs")}
    database = list(folder.glob("heimdall.sqlite3*"))
    total = disk_bytes(folder) - sum(map(disk_bytes, database))
    return {**sizes, "other": total - sum(sizes.values()), "database": database_bytes()}
