"""The checkpoints of a run as files: each written whole or not at all, and which may go.

Loads no torch: the process that writes them starts in no time, and whoever stores the rows lets
go of the files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.localization.checkpoints import safetensors_file
from training.programs.messages import FinalError

FORMAT, NUMBERS = 4, "numbers"
KEEP_LAST = 2  # so that a damaged one has one before it
# Each file has a name of its own: one that is written over would not match its checksum meanwhile.
EPOCHS, BESTS = "epoch", "best"
SUFFIX = ".safetensors"
MODEL = f"model{SUFFIX}"


class CheckpointError(FinalError):
    """A checkpoint could be neither written nor loaded; the message says which and why."""


def checkpoint_path(folder: Path, kind: str, epoch: int) -> Path:
    return folder / f"{kind}-{epoch:06d}{SUFFIX}"


def checkpoint_epoch(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def pack(about: dict[str, Any], numbers: bytes) -> bytes:
    """The content of a checkpoint, of what a `Snapshot` holds."""
    return safetensors_file.row(NUMBERS, numbers, {"format": FORMAT, **about})


def write_checkpoint(folder: Path, kind: str, epoch: int, content: bytes) -> Path:
    """A best of which an epoch's checkpoint tells is to be written before it."""
    path = checkpoint_path(folder, kind, epoch)
    if kind == BESTS and path.exists():  # it does where this epoch had to be done again
        return path
    try:
        write_durably(path, content)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint of epoch {epoch} cannot be written to {folder}: "
            f"{error.strerror}. Once that is put right, resume: nothing before it is lost"
        ) from error
    return path


def prune_older(folder: Path, earlier: Iterable[Path], epoch: int) -> None:
    """Once `epoch` is stored: the newest two and the best up to it stay, and all that come after.

    The trainer runs ahead of the rows while the database is away or its host is cut off from it.
    What the rows name must then still lie there for whoever takes over: so not the trainer but
    whoever has stored an epoch lets go of the files before it. The runs before are needed until
    this one has its own two.
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
        checksum(path).unlink(missing_ok=True)


def write_durably(path: Path, content: bytes) -> None:
    """The sum first: a sum without its file harms nobody, a file without its sum is lost."""
    line = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
    aside = path.with_suffix(".part")
    try:
        for target, data in ((checksum(path), line.encode()), (path, content)):
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        _sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """A rename is on disk only once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(path: Path) -> Path:
    """In the form that `sha256sum --check` reads."""
    return path.with_suffix(f"{SUFFIX}.sha256")


def newest_first(folders: Iterable[Path], kind: str) -> list[Path]:
    """All checkpoints of a kind that lie there, by epoch, then by run."""
    found = [
        path
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()  # a glob takes ten times as long
        if path.name.startswith(f"{kind}-") and path.suffix == SUFFIX
    ]
    return sorted(found, key=lambda path: (path.name, path.parent.name), reverse=True)
