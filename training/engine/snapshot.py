"""A training as plain types: taken at an epoch's end in next to no time, and made again from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from training.engine.config import TrainConfig
from training.engine.normaliser import Normaliser
from training.engine.state import TrainState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state as it was, in memory of its own, so that training may go on.

    `about` is JSON of what never changes. `numbers` are all weights in a row, then all that the
    optimiser remembers of them, by `kinds`: dozens of small tensors take ten times as long to
    write.
    """

    about: str
    numbers: Tensor
    kinds: tuple[str, ...]
    epoch: int
    best_epoch: int | None
    best_val_loss: float
    # Another number of threads adds up in another order: the last bits would differ.
    threads: int

    @classmethod
    def of(cls, state: TrainState) -> Snapshot:
        weights = list(state.model.parameters())
        memory = [state.optimizer.state[one] for one in weights if one in state.optimizer.state]
        kinds = tuple(memory[0]) if memory else ()  # nothing before the first step
        parts = [*weights, *(one[kind] for kind in kinds for one in memory)]
        with torch.no_grad():
            numbers = torch.cat([part.flatten() for part in parts]).cpu()
        return cls(
            _about(state.config, state.normaliser, state.receivers, state.dataset_hash),
            numbers,
            kinds,
            state.epoch,
            state.best_epoch,
            state.best_val_loss,
            torch.get_num_threads(),
        )

    def restore(self) -> TrainState:
        """The very state; it sets the number of threads, too."""
        torch.set_num_threads(self.threads)
        about = json.loads(self.about)
        state = TrainState.around(
            TrainConfig.model_validate(about["config"]),
            Normaliser.from_dict(about["normaliser"]),
            tuple(about["receivers"]),
            about["dataset_hash"],
        )
        weights = list(state.model.parameters())
        # The number of steps is one figure for each tensor, the rest is as large as it.
        steps = [torch.empty(())] * len(weights)
        like = [steps if kind == "step" else weights for kind in self.kinds]
        parts = iter(_parts(self.numbers, [*weights, *(one for some in like for one in some)]))
        with torch.no_grad():
            for weight in weights:
                weight.copy_(next(parts))
        for kind in self.kinds:
            for weight in weights:
                state.optimizer.state[weight][kind] = next(parts).clone()
        state.epoch, state.best_epoch = self.epoch, self.best_epoch
        state.best_val_loss = self.best_val_loss
        return state

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, so that `weights_only` can load it."""
        return {
            "about": self.about,
            "numbers": self.numbers,
            "kinds": self.kinds,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_val_loss": self.best_val_loss,
            "threads": self.threads,
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Snapshot:
        names = ("about", "numbers", "kinds", "epoch", "best_epoch", "best_val_loss", "threads")
        return cls(*(kept[name] for name in names))


@lru_cache(maxsize=1)
def _about(
    config: TrainConfig, normaliser: Normaliser, receivers: tuple[str, ...], dataset_hash: str
) -> str:
    """Made once: it is the same from epoch to epoch."""
    return json.dumps(
        {
            "config": config.model_dump(mode="json"),
            "normaliser": normaliser.to_dict(),
            "receivers": receivers,
            "dataset_hash": dataset_hash,
        }
    )


def _parts(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A vector cut into the shapes of `like`."""
    parts = vector.split([one.numel() for one in like])
    return [part.view(one.shape) for part, one in zip(parts, like, strict=True)]
