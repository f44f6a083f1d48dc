"""Which checkpoints lie in the folder of a run, and which of them may go; known without torch.

The trainer runs ahead of the rows while the database is away or its host is cut off from it. What
the rows name must then still lie there for whoever takes over: so not the trainer but whoever
has stored an epoch lets go of the files before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

KEPT = 2  # so that a damaged one has one before it
# Each file has a name of its own: one that is written over would not match its checksum meanwhile.
EPOCHS, BESTS = "epoch", "best"


def file_of(folder: Path, kind: str, epoch: int) -> Path:
    return folder / f"{kind}-{epoch:06d}.pt"


def sum_file(path: Path) -> Path:
    """In the form that `sha256sum --check` reads."""
    return path.with_suffix(".pt.sha256")


def epoch_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


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


def forget_older(folder: Path, earlier: Iterable[Path], epoch: int) -> None:
    """Once `epoch` is stored: the newest two and the best up to it stay, and all that come after.

    The runs before are needed until this one has its own two.
    """
    epochs, bests = (
        [path for path in newest_first([folder], kind) if epoch_of(path) <= epoch]
        for kind in (EPOCHS, BESTS)
    )
    old = epochs[KEPT:] + bests[1:]
    if len(epochs) >= KEPT:
        old += [path for kind in (EPOCHS, BESTS) for path in newest_first(earlier, kind)]
    for path in old:
        path.unlink(missing_ok=True)
        sum_file(path).unlink(missing_ok=True)
