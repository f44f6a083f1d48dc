"""All that a training is between two epochs; what is not in here cannot survive a stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.localizer.features import FEATURES
from training.localization.localizer.networks import Ensemble
from training.localization.localizer.normalizer import Normalizer

_WARM_UP = 0.05  # of all steps
_FLOOR = 0.01  # of the peak learning rate


@dataclass(slots=True)
class TrainState:
    """`epoch` counts the finished ones. No generator is kept: each epoch seeds its own."""

    config: TrainConfig
    normalizer: Normalizer
    receivers: tuple[str, ...]
    dataset_hash: str
    model: Ensemble
    optimizer: torch.optim.AdamW
    epoch: int = 0
    best_epoch: int | None = None
    best_val_loss: float = math.inf

    @classmethod
    def initial(cls, config: TrainConfig, dataset: Dataset) -> TrainState:
        """Before the first epoch; its weights follow from the seed."""
        return cls.build(
            config,
            Normalizer.fit(dataset, dataset.rows("train")),
            tuple(receiver.id for receiver in dataset.receivers),
            dataset.content_hash,
        )

    @classmethod
    def build(
        cls,
        config: TrainConfig,
        normalizer: Normalizer,
        receivers: tuple[str, ...],
        dataset_hash: str,
    ) -> TrainState:
        seed_everything(config.seed, epoch=0)
        # One token more than receivers: what they heard together.
        model = Ensemble(len(FEATURES), 1 + len(receivers), config)
        return cls(config, normalizer, receivers, dataset_hash, model, _optimizer(model, config))

    @property
    def is_finished(self) -> bool:
        """All epochs are done, or `patience` of them were no better."""
        stale = self.epoch - (self.best_epoch or 0)
        return self.epoch >= self.config.epochs or stale >= self.config.patience

    def to(self, device: torch.device) -> None:
        """Move the network and what the optimiser remembers of it."""
        self.model.to(device)
        for memory in self.optimizer.state.values():
            for name, value in memory.items():
                if isinstance(value, torch.Tensor):
                    memory[name] = value.to(device)

    def finish_epoch(self, val_loss: float) -> bool:
        """Count the epoch; whether it is the best so far."""
        self.epoch += 1
        if not val_loss < self.best_val_loss:
            return False
        self.best_epoch, self.best_val_loss = self.epoch, val_loss
        return True


def learning_rate(config: TrainConfig, progress: float) -> float:
    """At `progress` 0 to 1: a linear warm-up, then half a cosine (Loshchilov, Hutter 2017)."""
    if progress < _WARM_UP:
        return config.learning_rate * max(progress / _WARM_UP, _FLOOR)
    fall = (progress - _WARM_UP) / (1 - _WARM_UP)
    return config.learning_rate * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * fall)))


def seed_everything(seed: int, epoch: int) -> None:
    """Draw this epoch's random numbers afresh: so a resumed run draws what it would have drawn."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]))


def _optimizer(model: Ensemble, config: TrainConfig) -> torch.optim.AdamW:
    # Norms and biases are not pulled to zero.
    matrices = [one for one in model.parameters() if one.ndim > 1]
    others = [one for one in model.parameters() if one.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        fused=True,  # one pass over the weights instead of ten: a sixth off an epoch
    )
