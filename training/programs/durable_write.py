"""Durable writes of job files: a file is complete or absent, and synced to disk."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

_TEMPORARY = re.compile(r".+\.[0-9a-f]+\.part")  # earlier versions used the process ID
# Together with the ending, even characters of 4 bytes fit into the 255 bytes of a file system.
_KEPT_CHARACTERS = 50


def write_durably(*files: tuple[Path, bytes]) -> None:
    """Write the files in this order; a crash leaves each of them complete or as it was before.

    All are in one folder, which is synced once, at the end.
    """
    for path, content in files:
        temporary = temporary_path(path)
        try:
            temporary.write_bytes(content)
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    _sync(files[-1][0].parent)


def move_durably(temporary: Path, path: Path) -> None:
    """Sync a complete file and rename it to `path`, in the same folder."""
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def temporary_path(path: Path) -> Path:
    """Return a name in the same folder that no other thread or process uses."""
    return path.with_name(f"{path.name[:_KEPT_CHARACTERS]}.{uuid.uuid4().hex}.part")


def is_temporary(path: Path) -> bool:
    return _TEMPORARY.fullmatch(path.name) is not None


def _sync(path: Path) -> None:
    # Of a folder: a rename is on disk only once its folder is.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
