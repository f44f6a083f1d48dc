"""A training as one row of numbers and a few words: taken in next to no time, and made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor

from training.localization.config import TrainConfig
from training.localization.fit.state import TrainState
from training.localization.localizer.normalizer import Normalizer


@dataclass(frozen=True, slots=True)
class ParameterViews:
    """Where the numbers of a training lie: all weights, then what the optimiser remembers of them.

    `rows` are views, kind by kind, of what training goes on changing: found once, for to look for
    them takes longer than to copy them.
    """

    kinds: list[str]
    rows: list[Tensor]
    size: int  # bytes

    @classmethod
    def of(cls, state: TrainState) -> Self:
        weights = list(state.model.parameters())
        memory = [state.optimizer.state[one] for one in weights if one in state.optimizer.state]
        kinds = list(memory[0]) if memory else []  # nothing before the first step
        parts = [*weights, *(one[kind] for kind in kinds for one in memory)]
        rows = [part.detach().view(-1) for part in parts]
        return cls(kinds, rows, sum(row.nbytes for row in rows))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state as it was, in memory of its own, so that training may go on.

    `numbers` are in one row: dozens of small tensors take ten times as long to write. `about` is
    plain types.
    """

    about: dict[str, Any]
    numbers: Tensor

    @classmethod
    def of(cls, state: TrainState) -> Self:
        numbers = ParameterViews.of(state)
        return cls(describe(state, numbers.kinds), torch.cat(numbers.rows).cpu())

    def restore(self) -> TrainState:
        """The very state; it sets the number of threads, too."""
        about = self.about
        torch.set_num_threads(about["threads"])
        state = TrainState.build(
            TrainConfig.from_stored(about["config"]),
            Normalizer.from_dict(about["normaliser"]),
            tuple(about["receivers"]),
            about["dataset_hash"],
        )
        weights = list(state.model.parameters())
        # The number of steps is one figure for each tensor, the rest is as large as it.
        steps = [torch.empty(())] * len(weights)
        like = [steps if kind == "step" else weights for kind in about["kinds"]]
        parts = iter(_parts(self.numbers, [*weights, *(one for some in like for one in some)]))
        with torch.no_grad():
            for weight in weights:
                weight.copy_(next(parts))
        for kind in about["kinds"]:
            for weight in weights:
                state.optimizer.state[weight][kind] = next(parts).clone()
        state.epoch = about["epoch"]
        if about["best_epoch"] is not None:
            state.best_epoch, state.best_val_loss = about["best_epoch"], about["best_val_loss"]
        return state


def describe(state: TrainState, kinds: list[str]) -> dict[str, Any]:
    """All but the numbers."""
    return {
        **_lasting(state.config, state.normalizer, state.receivers, state.dataset_hash),
        "kinds": kinds,
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        # JSON knows no infinity, which it is before the first one.
        "best_val_loss": None if state.best_epoch is None else state.best_val_loss,
        # Another number of threads adds up in another order: the last bits would differ.
        "threads": torch.get_num_threads(),
    }


@lru_cache(maxsize=1)
def _lasting(
    config: TrainConfig, normalizer: Normalizer, receivers: tuple[str, ...], dataset_hash: str
) -> dict[str, Any]:
    """Made once: it is the same from epoch to epoch."""
    return {
        "config": config.model_dump(mode="json"),
        "normaliser": normalizer.to_dict(),
        "receivers": receivers,
        "dataset_hash": dataset_hash,
    }


def _parts(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A vector cut into the shapes of `like`."""
    parts = vector.split([one.numel() for one in like])
    return [part.view(one.shape) for part, one in zip(parts, like, strict=True)]
