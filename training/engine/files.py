"""The checkpoints of a run as files: each written whole or not at all, the older ones forgotten.

Loads no torch: the process that writes them starts in no time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEPT = 2  # so that a damaged one has one before it
# Each file has a name of its own: one that is written over would not match its checksum meanwhile.
EPOCHS, BESTS = "epoch", "best"


class CheckpointError(Exception):
    """A checkpoint could be neither written nor loaded; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Files:
    """The folder of one run, and those of the runs before it.

    Each run writes into a folder of its own, so that a worker that was given up for dead cannot
    touch what its successor wrote.
    """

    folder: Path
    earlier: tuple[Path, ...] = ()

    def path(self, epoch: int, kind: str = EPOCHS) -> Path:
        return self.folder / f"{kind}-{epoch:06d}.pt"

    def write(self, epoch: int, content: bytes | memoryview, is_best: bool) -> Path:
        """Write the epoch's checkpoint, keep it as the best if it is, forget the older ones."""
        path, best = self.path(epoch), self.path(epoch, BESTS)
        try:
            # The best first: wherever this is cut off, a checkpoint has the best that it names.
            if is_best and not best.exists():  # it does where this epoch had to be done again
                write(best, content)
            write(path, content)
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint of epoch {epoch} cannot be written to {self.folder}: "
                f"{error.strerror}. Once that is put right, resume: nothing before it is lost"
            ) from error
        self._forget_older()
        return path

    def _forget_older(self) -> None:
        epochs, bests = (newest_first([self.folder], kind) for kind in (EPOCHS, BESTS))
        old = epochs[KEPT:] + bests[1:]
        if len(epochs) >= KEPT:
            old += [path for kind in (EPOCHS, BESTS) for path in newest_first(self.earlier, kind)]
        for path in old:
            path.unlink(missing_ok=True)
            sum_file(path).unlink(missing_ok=True)


def write(path: Path, content: bytes | memoryview) -> None:
    """The sum first: a sum without its file harms nobody, a file without its sum is lost."""
    line = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
    aside = path.with_suffix(".part")
    try:
        for target, data in ((sum_file(path), line.encode()), (path, content)):
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


def sum_file(path: Path) -> Path:
    """In the form that `sha256sum --check` reads."""
    return path.with_suffix(".pt.sha256")


def newest_first(folders: Iterable[Path], kind: str) -> list[Path]:
    """All checkpoints of a kind that lie there, by epoch, then by run."""
    found = [
        path
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()  # a glob takes ten times as long
        if path.name.startswith(f"{kind}-") and path.suffix == ".pt"
    ]
    return sorted(found, key=lambda path: (path.name, path.parent.name), reverse=True)
