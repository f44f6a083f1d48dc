"""A training on disk, and back: never loaded without its checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch

from training.localization.checkpoints import safetensors_file
from training.localization.checkpoints.checkpoint_format import FORMAT, NUMBERS, pack
from training.localization.checkpoints.state_vector import Snapshot
from training.localization.fit.state import TrainState
from training.programs.checkpoint_files import (
    BESTS,
    EPOCHS,
    CheckpointError,
    checkpoint_epoch,
    checksum_path,
    newest_first,
    write_checkpoint,
    write_with_checksum,
)

__all__ = ["CheckpointError", "Resumed", "Store", "load_checkpoint"]


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where a training goes on; `damaged` says of each newer checkpoint why it was passed over."""

    state: TrainState
    damaged: list[str]


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of one run, and those of the runs before it.

    Each run writes into a folder of its own, so that a worker that was given up for dead cannot
    touch what its successor wrote.
    """

    folder: Path
    earlier: tuple[Path, ...] = ()

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch so far; CheckpointError where there is none."""
        found = newest_first([self.folder], BESTS)
        if not found:
            raise CheckpointError(f"{self.folder} has no best checkpoint")
        return found[0]

    def save(self, state: TrainState, is_best: bool) -> Path:
        """Write it in this process; AsyncCheckpointWriter does so in another."""
        taken = Snapshot.of(state)
        content = pack(taken.about, taken.numbers.numpy().tobytes())
        if is_best:
            write_checkpoint(self.folder, BESTS, state.epoch, content)
        return write_checkpoint(self.folder, EPOCHS, state.epoch, content)

    def resume(self, path: Path) -> Resumed:
        """The state at `path`, or where it is damaged the one before; the best comes along."""
        older = [one for one in newest_first(self._all_runs(path), EPOCHS) if one.name < path.name]
        damaged: list[str] = []
        for candidate in [path, *older]:
            try:
                state = load_checkpoint(candidate)
            except CheckpointError as error:
                damaged.append(str(error))
                continue
            if state.best_epoch is not None:
                self._bring_best(state.best_epoch, self._all_runs(path))
            return Resumed(state, damaged)
        raise CheckpointError("No checkpoint can be loaded: " + "; ".join(damaged))

    def _bring_best(self, epoch: int, folders: set[Path]) -> None:
        """A damaged one is found here, not when all the work is done.

        One of a later epoch will do: the training comes to that epoch again.
        """
        problems: list[str] = []
        bests = [path for path in newest_first(folders, BESTS) if checkpoint_epoch(path) >= epoch]
        for best in reversed(bests):
            try:
                load_checkpoint(best)
                if best.parent != self.folder:
                    write_with_checksum(self.folder / best.name, best.read_bytes())
                return
            except CheckpointError as error:
                problems.append(str(error))
        raise CheckpointError(
            "The best model cannot be loaded: " + ("; ".join(problems) or "its file is gone")
        )

    def _all_runs(self, path: Path) -> set[Path]:
        return {path.parent, self.folder, *self.earlier}


def load_checkpoint(path: Path) -> TrainState:
    """One checkpoint; CheckpointError where it is missing, damaged or of another kind."""
    try:
        content = path.read_bytes()
        expected = checksum_path(path).read_text(encoding="ascii").split()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    try:
        about = safetensors_file.about(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is no checkpoint: {error}") from error
    if about.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {about.get('format')}, this version reads {FORMAT}"
        )
    return Snapshot(about, safetensors.torch.load(content)[NUMBERS]).restore()
