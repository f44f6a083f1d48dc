"""Saves and loads checkpoints; a file is loaded only if its checksum matches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import safetensors.torch

from heimdall_sdk.checkpoint_names import (
    BESTS,
    EPOCHS,
    checkpoint_epoch,
    checksum_path,
    newest_first,
)
from training.localization.checkpoints import safetensors_file
from training.localization.checkpoints.checkpoint_format import (
    READABLE_FORMATS,
    VECTOR,
    StoredState,
    pack,
)
from training.localization.checkpoints.state_vector import Snapshot
from training.localization.fit.state import TrainState
from training.programs.checkpoint_files import (
    CheckpointError,
    write_checkpoint,
    write_with_checksum,
)

__all__ = ["CheckpointError", "Resumed", "Store", "load_checkpoint"]


@dataclass(frozen=True, slots=True)
class Resumed:
    """The state to resume from, None to start from epoch 1; `unusable` says why each newer
    checkpoint is not used."""

    state: TrainState | None
    unusable: list[str]


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of one run, and those of the earlier runs.

    Each run has a separate folder, so that a worker that was declared lost cannot overwrite the
    checkpoints of its successor.
    """

    folder: Path
    earlier: tuple[Path, ...] = ()

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch so far; raises CheckpointError without one."""
        found = newest_first([self.folder], BESTS)
        if not found:
            raise CheckpointError(f"{self.folder} has no best checkpoint")
        return found[0]

    def save(self, state: TrainState, is_best: bool) -> Path:
        snapshot = Snapshot.of(state)
        content = pack(snapshot.metadata, snapshot.vector.numpy().tobytes())
        if is_best:
            write_checkpoint(self.folder, BESTS, state.epoch, content)
        return write_checkpoint(self.folder, EPOCHS, state.epoch, content)

    def resume(self, path: Path) -> Resumed:
        """Load `path`, or the newest older checkpoint that is not damaged.

        If all are missing, the training starts from epoch 1: after a restore, the rows may be older
        than the files. Checkpoints of later epochs are of no use, since their epochs have no rows.
        The best checkpoint is copied to this run's folder.
        """
        unusable: list[str] = []
        is_damaged = False
        for candidate in self._candidates(path):
            if not candidate.is_file():
                unusable.append(f"{candidate} is missing")
                continue
            try:
                state = load_checkpoint(candidate)
            except CheckpointError as error:
                unusable.append(str(error))
                is_damaged = True
                continue
            if state.best_epoch is None or self._copy_best(state.best_epoch, self._all_runs(path)):
                return Resumed(state, unusable)
            unusable.append(f"The best checkpoint up to {candidate} is missing")
        if is_damaged:
            raise CheckpointError("No checkpoint can be loaded: " + "; ".join(unusable))
        return Resumed(None, unusable)

    def _candidates(self, path: Path) -> list[Path]:
        found = newest_first(self._all_runs(path), EPOCHS)
        epoch = checkpoint_epoch(path)
        older = (other for other in found if checkpoint_epoch(other) <= epoch and other != path)
        return [path, *older]

    def _copy_best(self, epoch: int, folders: set[Path]) -> bool:
        """Find a best checkpoint that loads, so that a damaged one fails now and not at the end.

        One of a later epoch is valid too, because the training repeats that epoch. Return False if
        there is none.
        """
        problems: list[str] = []
        bests = [path for path in newest_first(folders, BESTS) if checkpoint_epoch(path) >= epoch]
        for best in reversed(bests):
            try:
                load_checkpoint(best)
                if best.parent != self.folder:
                    write_with_checksum(self.folder / best.name, best.read_bytes())
                return True
            except CheckpointError as error:
                problems.append(str(error))
        if problems:
            raise CheckpointError("The best model cannot be loaded: " + "; ".join(problems))
        return False

    def _all_runs(self, path: Path) -> set[Path]:
        return {path.parent, self.folder, *self.earlier}


def load_checkpoint(path: Path) -> TrainState:
    """Load one checkpoint; raises CheckpointError if it is missing, damaged or of another kind."""
    try:
        content = path.read_bytes()
        expected = checksum_path(path).read_text(encoding="ascii").split()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    try:
        metadata = safetensors_file.read_metadata(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is not a checkpoint: {error}") from error
    if metadata.get("format") not in READABLE_FORMATS:
        raise CheckpointError(
            f"{path} has format {metadata.get('format')}, this version reads "
            + " and ".join(map(str, READABLE_FORMATS))
        )
    vector = safetensors.torch.load(content)[VECTOR]
    return Snapshot(cast(StoredState, metadata), vector).restore()
