"""A training on disk: written whole or not at all, and never loaded without its checksum."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from training.engine.kept import BESTS, EPOCHS, epoch_of, file_of, newest_first, sum_file
from training.engine.snapshot import Snapshot
from training.engine.state import TrainState

FORMAT = 3


class CheckpointError(Exception):
    """A checkpoint could be neither written nor loaded; the message says which and why."""


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
        """Write the epoch's checkpoint, and keep it as the best if it is."""
        return self.write(Snapshot.of(state), is_best)

    def write(self, taken: Snapshot, is_best: bool) -> Path:
        """The same with a state that was taken before."""
        packed = io.BytesIO()
        torch.save({"format": FORMAT, "torch": str(torch.__version__), **taken.to_dict()}, packed)
        content = packed.getbuffer()
        path, best = (file_of(self.folder, kind, taken.epoch) for kind in (EPOCHS, BESTS))
        try:
            # The best first: wherever this is cut off, a checkpoint has the best that it names.
            if is_best and not best.exists():  # it does where this epoch had to be done again
                _write(best, content)
            _write(path, content)
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint of epoch {taken.epoch} cannot be written to {self.folder}: "
                f"{error.strerror}. Once that is put right, resume: nothing before it is lost"
            ) from error
        return path

    def resume(self, path: Path) -> Resumed:
        """The state at `path`, or where it is damaged the one before; the best comes along."""
        older = [one for one in newest_first(self._all_runs(path), EPOCHS) if one.name < path.name]
        damaged: list[str] = []
        for candidate in [path, *older]:
            try:
                state = load(candidate)
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
        bests = [path for path in newest_first(folders, BESTS) if epoch_of(path) >= epoch]
        for best in reversed(bests):
            try:
                load(best)
                if best.parent != self.folder:
                    _write(self.folder / best.name, best.read_bytes())
                return
            except CheckpointError as error:
                problems.append(str(error))
        raise CheckpointError(
            "The best model cannot be loaded: " + ("; ".join(problems) or "its file is gone")
        )

    def _all_runs(self, path: Path) -> set[Path]:
        return {path.parent, self.folder, *self.earlier}


def load(path: Path) -> TrainState:
    """One checkpoint; CheckpointError where it is missing, damaged or of another kind."""
    try:
        packed = path.read_bytes()
        said = sum_file(path).read_text(encoding="ascii").split()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(packed).hexdigest() != said:
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    kept = torch.load(io.BytesIO(packed), weights_only=True)  # noqa: TID251
    if kept["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {kept['format']}, this version reads {FORMAT}")
    return Snapshot.from_dict(kept).restore()


def _write(path: Path, content: bytes | memoryview) -> None:
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
