"""A training on disk: written whole or not at all, and never loaded without its checksum."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from training.engine.config import TrainConfig
from training.engine.features import Normaliser
from training.engine.state import TrainState

FORMAT = 1
BEST = "best.pt"
KEPT = 2  # so that a damaged one has one before it


class CheckpointError(Exception):
    """No checkpoint could be loaded; the message says which ones and why."""


def save(state: TrainState, folder: Path, is_best: bool) -> Path:
    """Write the epoch's checkpoint, mark it as the best if it is, forget the older ones."""
    path = _epoch_file(folder, state.epoch)
    packed = io.BytesIO()
    torch.save(_as_dict(state), packed)
    _write(path, packed.getvalue())
    if is_best:
        _write(folder / BEST, packed.getvalue())
    for old in _epoch_files(folder)[KEPT:]:
        old.unlink(missing_ok=True)
        _sum_file(old).unlink(missing_ok=True)
    return path


def load(path: Path) -> TrainState:
    """One checkpoint; CheckpointError where it is missing, damaged or of another kind."""
    try:
        packed = path.read_bytes()
        said = _sum_file(path).read_text(encoding="ascii").split()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(packed).hexdigest() != said:
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    kept = torch.load(io.BytesIO(packed), weights_only=True)  # noqa: TID251
    if kept["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {kept['format']}, this version reads {FORMAT}")
    return _from_dict(kept)


def resume(path: Path, run_dir: Path) -> TrainState:
    """The state at `path`, or where it is damaged the one before; the best so far comes along.

    Resuming writes into a folder of its own (`run_dir`), so that a worker that was given up for
    dead cannot touch it.
    """
    folder = path.parent
    older = [one for one in _epoch_files(folder) if one.name < path.name]
    problems: list[str] = []
    for candidate in [path, *older]:
        try:
            state = load(candidate)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if state.best_epoch is not None and folder != run_dir:
            _copy_best(folder, run_dir)
        return state
    raise CheckpointError("No checkpoint can be loaded: " + "; ".join(problems))


def _copy_best(folder: Path, run_dir: Path) -> None:
    load(folder / BEST)  # a damaged one is found here, not when all the work is done
    for name in (BEST, _sum_file(folder / BEST).name):
        shutil.copyfile(folder / name, run_dir / name)


def _as_dict(state: TrainState) -> dict[str, Any]:
    """Plain types only, so that `weights_only` can load it."""
    return {
        "format": FORMAT,
        "config": state.config.model_dump(mode="json"),
        "normaliser": state.normaliser.to_dict(),
        "receivers": list(state.receivers),
        "dataset_hash": state.dataset_hash,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_val_loss": state.best_val_loss,
        "torch": str(torch.__version__),
        # Another number of threads adds up in another order: the last bits would differ.
        "threads": torch.get_num_threads(),
    }


def _from_dict(kept: dict[str, Any]) -> TrainState:
    torch.set_num_threads(kept["threads"])
    state = TrainState.around(
        TrainConfig.model_validate(kept["config"]),
        Normaliser.from_dict(kept["normaliser"]),
        tuple(kept["receivers"]),
        kept["dataset_hash"],
    )
    state.model.load_state_dict(kept["model"])
    state.optimizer.load_state_dict(kept["optimizer"])
    state.epoch, state.best_epoch = kept["epoch"], kept["best_epoch"]
    state.best_val_loss = kept["best_val_loss"]
    return state


def _write(path: Path, content: bytes) -> None:
    """The sum first: a sum without its file harms nobody, a file without its sum is lost."""
    line = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
    aside = path.with_suffix(".part")
    try:
        for target, data in ((_sum_file(path), line.encode()), (path, content)):
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


def _epoch_file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:06d}.pt"


def _sum_file(path: Path) -> Path:
    """In the form that `sha256sum --check` reads."""
    return path.with_suffix(".pt.sha256")


def _epoch_files(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder.glob("epoch-*.pt"), reverse=True)
