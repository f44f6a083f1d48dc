"""Checkpoints of a run as files: names, checksums, and which may be deleted.

Loads no torch: the process that writes checkpoints starts fast, and the worker prunes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from heimdall_sdk.checkpoint_names import (
    BESTS,
    EPOCHS,
    KEEP_LAST,
    SUFFIX,
    checkpoint_epoch,
    checkpoint_path,
    checksum_path,
    newest_first,
)
from training.programs.durable_write import write_durably
from training.programs.messages import FinalError

MODEL = f"model{SUFFIX}"


class CheckpointError(FinalError):
    """A checkpoint could not be written or loaded; the message says which and why."""


def write_checkpoint(folder: Path, kind: str, epoch: int, content: bytes) -> Path:
    """Write the best checkpoint before any epoch checkpoint that refers to it."""
    path = checkpoint_path(folder, kind, epoch)
    if kind == BESTS and path.exists():  # this epoch was trained again
        return path
    try:
        write_with_checksum(path, content)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint of epoch {epoch} cannot be written to {folder}: "
            f"{error.strerror}. Fix that and resume; earlier checkpoints are kept"
        ) from error
    return path


def write_with_checksum(path: Path, content: bytes) -> None:
    """Write the checksum first: without its file it is harmless, a file without it is lost."""
    line = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
    write_durably((checksum_path(path), line.encode()), (path, content))


def prune_older(folder: Path, earlier: Iterable[Path], epoch: int) -> None:
    """After `epoch` is stored, keep the newest two up to it, the best up to it, and all later ones.

    The training runs ahead of the database while that is unavailable or its host is disconnected.
    The next worker then needs the files that the rows name. So the supervisor, which has stored an
    epoch, deletes the older files, not the training. Files of earlier runs are needed until this
    run has two of its own.
    """
    epochs, bests = (
        [path for path in newest_first([folder], kind) if checkpoint_epoch(path) <= epoch]
        for kind in (EPOCHS, BESTS)
    )
    old = epochs[KEEP_LAST:] + bests[1:]
    if len(epochs) >= KEEP_LAST:
        old += [path for kind in (EPOCHS, BESTS) for path in newest_first(earlier, kind)]
    for path in old:
        path.unlink(missing_ok=True)
        checksum_path(path).unlink(missing_ok=True)
