"""The state of a training as one vector and metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor

from training.localization.checkpoints.checkpoint_format import StoredRun, StoredState
from training.localization.config import TrainConfig
from training.localization.fit.state import TrainState
from training.localization.localizer.normalizer import Normalizer


@dataclass(frozen=True, slots=True)
class ParameterViews:
    """Flat views of all weights, of their averages, then of the optimizer's state, kind by kind.

    Training changes what the views show. They are collected once, because that takes longer than
    copying them.
    """

    kinds: list[str]
    views: list[Tensor]
    size: int  # bytes

    @classmethod
    def of(cls, state: TrainState) -> Self:
        weights = list(state.model.parameters())
        optimizer = state.optimizer.state
        states = [optimizer[weight] for weight in weights if weight in optimizer]
        kinds = list(states[0]) if states else []  # empty before the first step
        averages = [] if state.averaged is None else list(state.averaged.parameters())
        tensors = [
            *weights,
            *averages,
            *(tensors[kind] for kind in kinds for tensors in states),
        ]
        views = [tensor.detach().view(-1) for tensor in tensors]
        return cls(kinds, views, sum(view.nbytes for view in views))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a state that training does not change.

    One vector, because dozens of small tensors take ten times as long to write.
    """

    metadata: StoredState
    vector: Tensor

    @classmethod
    def of(cls, state: TrainState) -> Self:
        parameters = ParameterViews.of(state)
        return cls(describe(state, parameters.kinds), torch.cat(parameters.views).cpu())

    def restore(self) -> TrainState:
        metadata = self.metadata
        torch.set_num_threads(metadata["threads"])
        state = TrainState.build(
            TrainConfig.from_stored(metadata["config"]),
            Normalizer.from_dict(metadata["normaliser"]),
            tuple(metadata["receivers"]),
            metadata["dataset_hash"],
            metadata.get("architecture", 1),
        )
        weights = list(state.model.parameters())
        averages = [] if state.averaged is None else list(state.averaged.parameters())
        # The number of steps is a scalar for each weight; other kinds have the weight's shape.
        scalars = [torch.empty(())] * len(weights)
        like: list[Tensor] = [*weights, *averages]
        for kind in metadata["kinds"]:
            like += scalars if kind == "step" else weights
        parts = iter(_split(self.vector, like))
        with torch.no_grad():
            for weight in (*weights, *averages):
                weight.copy_(next(parts))
        for kind in metadata["kinds"]:
            for weight in weights:
                state.optimizer.state[weight][kind] = next(parts).clone()
        state.epoch = metadata["epoch"]
        if metadata["best_epoch"] is not None and metadata["best_val_loss"] is not None:
            state.best_epoch, state.best_val_loss = (
                metadata["best_epoch"],
                metadata["best_val_loss"],
            )
        return state


def describe(state: TrainState, kinds: list[str]) -> StoredState:
    return {
        **_constant_metadata(
            state.config,
            state.normalizer,
            state.receivers,
            state.dataset_hash,
            state.model.architecture,
        ),
        "kinds": kinds,
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        # JSON has no infinity, which is the loss before the first epoch.
        "best_val_loss": None if state.best_epoch is None else state.best_val_loss,
        # With another number of threads sums have another order, and the last bits differ.
        "threads": torch.get_num_threads(),
    }


@lru_cache(maxsize=1)
def _constant_metadata(
    config: TrainConfig,
    normalizer: Normalizer,
    receivers: tuple[str, ...],
    dataset_hash: str,
    architecture: int,
) -> StoredRun:
    return {
        "config": config.model_dump(mode="json"),
        "normaliser": normalizer.to_dict(),
        "receivers": receivers,
        "dataset_hash": dataset_hash,
        "architecture": architecture,
    }


def _split(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Split the vector into tensors with the shapes of `like`."""
    parts = vector.split([tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]
