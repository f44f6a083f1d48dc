"""A training as plain types: taken at an epoch's end in next to no time, and made again from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.engine.config import TrainConfig
from training.engine.normaliser import Normaliser
from training.engine.state import TrainState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state as it was, in memory of its own, so that training may go on.

    The weights [P] are one vector, and so is each thing that the optimiser remembers of them:
    dozens of small tensors take some ten times as long to write.
    """

    config: TrainConfig
    normaliser: Normaliser
    receivers: tuple[str, ...]
    dataset_hash: str
    weights: Tensor
    optimizer: dict[str, Tensor]
    epoch: int
    best_epoch: int | None
    best_val_loss: float
    # Another number of threads adds up in another order: the last bits would differ.
    threads: int

    @classmethod
    def of(cls, state: TrainState) -> Snapshot:
        weights = list(state.model.parameters())
        memory = [state.optimizer.state[one] for one in weights if one in state.optimizer.state]
        kinds = list(memory[0]) if memory else []  # nothing before the first step
        return cls(
            state.config,
            state.normaliser,
            state.receivers,
            state.dataset_hash,
            _vector(weights),
            {kind: _vector([one[kind] for one in memory]) for kind in kinds},
            state.epoch,
            state.best_epoch,
            state.best_val_loss,
            torch.get_num_threads(),
        )

    def restore(self) -> TrainState:
        """The very state; it sets the number of threads, too."""
        torch.set_num_threads(self.threads)
        state = TrainState.around(self.config, self.normaliser, self.receivers, self.dataset_hash)
        weights = list(state.model.parameters())
        with torch.no_grad():
            for one, value in zip(weights, _parts(self.weights, weights), strict=True):
                one.copy_(value)
        for kind, vector in self.optimizer.items():
            # The number of steps is one figure for each tensor, the rest is as large as it.
            like = [torch.empty(())] * len(weights) if kind == "step" else weights
            for one, value in zip(weights, _parts(vector, like), strict=True):
                state.optimizer.state[one][kind] = value.clone()
        state.epoch, state.best_epoch = self.epoch, self.best_epoch
        state.best_val_loss = self.best_val_loss
        return state

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, so that `weights_only` can load it."""
        return {
            "config": self.config.model_dump(mode="json"),
            "normaliser": self.normaliser.to_dict(),
            "receivers": list(self.receivers),
            "dataset_hash": self.dataset_hash,
            "weights": self.weights,
            "optimizer": self.optimizer,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_val_loss": self.best_val_loss,
            "threads": self.threads,
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Snapshot:
        return cls(
            TrainConfig.model_validate(kept["config"]),
            Normaliser.from_dict(kept["normaliser"]),
            tuple(kept["receivers"]),
            kept["dataset_hash"],
            kept["weights"],
            kept["optimizer"],
            kept["epoch"],
            kept["best_epoch"],
            kept["best_val_loss"],
            kept["threads"],
        )


def _vector(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.detach().flatten() for one in tensors]).cpu()


def _parts(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A vector cut into the shapes of `like`."""
    parts = vector.split([one.numel() for one in like])
    return [part.view(one.shape) for part, one in zip(parts, like, strict=True)]
