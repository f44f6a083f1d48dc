"""The state of a training between two epochs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.localizer.features import FEATURES, fit_token_center
from training.localization.localizer.networks import ARCHITECTURES, Ensemble
from training.localization.localizer.normalizer import Normalizer

_WARMUP_FRACTION = 0.05  # of all steps
_MIN_RATE_FRACTION = 0.01  # of the peak learning rate
# The weights of step t count with t to this power (Karras et al. 2024, Analyzing and Improving the
# Training Dynamics of Diffusion Models): about the last quarter of the steps so far.
_AVERAGE_POWER = 3
_AVERAGE_EVERY = 4  # steps; every step would cost as much as a layer


@dataclass(slots=True)
class TrainState:
    """Everything a checkpoint stores; `epoch` counts completed epochs.

    It needs no state of a random generator, since each epoch seeds its own.
    """

    config: TrainConfig
    normalizer: Normalizer
    receivers: tuple[str, ...]
    dataset_hash: str
    model: Ensemble
    averaged: Ensemble | None
    optimizer: torch.optim.AdamW
    epoch: int = 0
    best_epoch: int | None = None
    best_val_loss: float = math.inf

    @classmethod
    def initial(cls, config: TrainConfig, dataset: Dataset) -> TrainState:
        rows = dataset.rows("train")
        normalizer = Normalizer.fit(dataset, rows)
        architecture = ARCHITECTURES[config.model]
        if architecture > 1:
            center = fit_token_center(normalizer, dataset, rows)
            normalizer = replace(normalizer, token_center=center)
        return cls.build(
            config,
            normalizer,
            tuple(receiver.id for receiver in dataset.receivers),
            dataset.content_hash,
            architecture,
        )

    @classmethod
    def build(
        cls,
        config: TrainConfig,
        normalizer: Normalizer,
        receivers: tuple[str, ...],
        dataset_hash: str,
        architecture: int,
    ) -> TrainState:
        seed_everything(config.seed, epoch=0)
        # One token for each receiver, and the aggregate token.
        model = Ensemble(len(FEATURES), 1 + len(receivers), config, architecture)
        averaged = None if architecture == 1 else copy.deepcopy(model)
        optimizer = _build_optimizer(model, config)
        return cls(config, normalizer, receivers, dataset_hash, model, averaged, optimizer)

    @property
    def predictor(self) -> Ensemble:
        """The network that is evaluated and saved; version 0.2 did not average weights."""
        return self.model if self.averaged is None else self.averaged

    @property
    def is_finished(self) -> bool:
        epochs_since_best = self.epoch - (self.best_epoch or 0)
        return self.epoch >= self.config.epochs or epochs_since_best >= self.config.patience

    def to(self, device: torch.device) -> None:
        self.model.to(device)
        self.predictor.to(device)
        for parameter_state in self.optimizer.state.values():
            for name, value in parameter_state.items():
                if isinstance(value, torch.Tensor):
                    parameter_state[name] = value.to(device)

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """After optimizer step `step`, counted from 1 over all epochs."""
        if self.averaged is None or (step > _AVERAGE_EVERY and step % _AVERAGE_EVERY):
            return
        share = min(1, (_AVERAGE_POWER + 1) / (step / _AVERAGE_EVERY + _AVERAGE_POWER))
        for mean, latest in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(latest, share)

    def finish_epoch(self, val_loss: float) -> bool:
        self.epoch += 1
        if not val_loss < self.best_val_loss:
            return False
        self.best_epoch, self.best_val_loss = self.epoch, val_loss
        return True


def learning_rate(config: TrainConfig, progress: float) -> float:
    """At `progress` 0 to 1: linear warm-up, then cosine decay (Loshchilov, Hutter 2017)."""
    if progress < _WARMUP_FRACTION:
        return config.learning_rate * max(progress / _WARMUP_FRACTION, _MIN_RATE_FRACTION)
    decayed = (progress - _WARMUP_FRACTION) / (1 - _WARMUP_FRACTION)
    cosine = 0.5 * (1 + math.cos(math.pi * decayed))
    return config.learning_rate * (_MIN_RATE_FRACTION + (1 - _MIN_RATE_FRACTION) * cosine)


def seed_everything(seed: int, epoch: int) -> None:
    # Seed each epoch separately, so that a resumed training draws the same random numbers.
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]))


def _build_optimizer(model: Ensemble, config: TrainConfig) -> torch.optim.AdamW:
    # No weight decay for norms and biases.
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        fused=True,  # one pass over the weights instead of ten; saves a sixth of an epoch
    )
