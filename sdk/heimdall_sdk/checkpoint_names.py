"""The names of checkpoint files, which trainings write and Heimdall's worker prunes.

`epoch-000012.safetensors` with `epoch-000012.safetensors.sha256`, and `best-000012.safetensors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

KEEP_LAST = 2  # if the newest is damaged, training resumes from the one before
# Each file has its own name: an overwritten one would not match its checksum for a moment.
EPOCHS, BESTS = "epoch", "best"
SUFFIX = ".safetensors"


def checkpoint_path(folder: Path, kind: str, epoch: int) -> Path:
    return folder / f"{kind}-{epoch:06d}{SUFFIX}"


def checkpoint_epoch(path: Path) -> int:
    """As a number: as texts, 1000000 is less than 999999."""
    return int(path.stem.rpartition("-")[2])


def checksum_path(path: Path) -> Path:
    """The file that `sha256sum --check` reads."""
    return path.with_name(f"{path.name}.sha256")


def newest_first(folders: Iterable[Path], kind: str) -> list[Path]:
    """All checkpoints of a kind in these folders, by epoch, then by attempt."""
    found = [
        path
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()  # a glob takes ten times as long
        if path.name.startswith(f"{kind}-")
        and path.suffix == SUFFIX
        and path.stem.rpartition("-")[2].isdecimal()  # else a file of the script's own
    ]
    return sorted(found, key=_order, reverse=True)


def _order(path: Path) -> tuple[int, int, str]:
    folder = path.parent.name
    return checkpoint_epoch(path), len(folder), folder
