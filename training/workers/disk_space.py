"""Detects a full disk."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

# Starting an attempt needs less. Checkpoints may need more; a failing write detects that.
MIN_FREE_BYTES = 1 << 20
_MESSAGES = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def has_disk_space(folder: Path) -> bool:
    """Whether the disk of a folder has space; the folder may not exist yet. Ignores quotas."""
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(existing).free >= MIN_FREE_BYTES


def is_disk_full(message: str) -> bool:
    """Whether a program's error message is that of a full disk."""
    return any(text in message for text in _MESSAGES)
