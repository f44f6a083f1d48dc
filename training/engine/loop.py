"""The training loop: a generator that yields what happened, and does no I/O."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.engine import bounds, metrics
from training.engine.dataset import Dataset
from training.engine.features import encode
from training.engine.geometry import Floats
from training.engine.loss import loss
from training.engine.metrics import Predictions
from training.engine.state import TrainState, learning_rate, seed_everything

_PREDICT_BATCH = 1024


class DivergedError(Exception):
    """The loss is not a finite number any more; the message says where and what to try."""


@dataclass(frozen=True, slots=True)
class Step:
    """One batch is done."""

    epoch: int
    batch: int
    total_batches: int
    loss: float


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch is done; `seconds` is apart from the metrics, which the seed decides."""

    epoch: int
    metrics: dict[str, float | None]
    is_best: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Samples:
    """One split as tensors: tokens [N, R, F], mask [N, R], target [N, 2] in units."""

    tokens: Tensor
    mask: Tensor
    target: Tensor
    metres: Floats

    def __len__(self) -> int:
        return len(self.target)

    @classmethod
    def of(cls, dataset: Dataset, state: TrainState, split: str) -> Samples:
        rows = dataset.rows(split)
        features = encode(dataset, state.normaliser)
        metres = dataset.target[rows].astype(float)
        return cls(
            torch.from_numpy(features.tokens[rows]),
            torch.from_numpy(features.mask[rows]),
            torch.from_numpy(state.normaliser.positions_to_units(metres)),
            metres,
        )


@dataclass(slots=True)
class _Running:
    """Sums over an epoch's batches, weighted by their sizes."""

    samples: int = 0
    loss: float = 0.0
    squared: float = 0.0

    def add(self, batch_loss: float, squared: float, size: int) -> None:
        self.samples += size
        self.loss += batch_loss * size
        self.squared += squared


def fit(state: TrainState, dataset: Dataset) -> Iterator[Step | EpochResult]:
    """Train `state` on, epoch by epoch, until it is over; stop asking to stop it."""
    train, val = (Samples.of(dataset, state, split) for split in ("train", "val"))
    good = bounds.good_geometry(dataset, dataset.rows("val")).mask
    while not state.is_over:
        started = time.perf_counter()
        running = _Running()
        yield from _train(state, train, running)
        predicted, val_loss = predict(state, val)
        rate = learning_rate(state.config, state.epoch / state.config.epochs)
        is_best = state.finish_epoch(val_loss)
        found: dict[str, float | None] = {
            "train_loss": running.loss / running.samples,
            "val_loss": val_loss,
            "train_rmse": math.sqrt(running.squared / running.samples) * state.normaliser.metres,
            **metrics.of_validation(predicted, val.metres, good),
            "learning_rate": rate,
        }
        yield EpochResult(state.epoch, found, is_best, time.perf_counter() - started)


def _train(state: TrainState, train: Samples, running: _Running) -> Iterator[Step]:
    config, epoch = state.config, state.epoch + 1
    seed_everything(config.seed, epoch)
    order = torch.randperm(len(train))
    batches = order.split(config.batch_size)
    state.model.train()
    for index, rows in enumerate(batches):
        rate = learning_rate(config, (state.epoch + index / len(batches)) / config.epochs)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        target = train.target[rows]
        mean, factor = state.model(train.tokens[rows], _drop(train.mask[rows], state))
        batch_loss = loss(mean, factor, target).mean()
        value = float(batch_loss.detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"The loss became {value} in epoch {epoch}, batch {index + 1}: try a smaller "
                f"learning_rate than {config.learning_rate:g}"
            )
        state.optimizer.zero_grad()
        batch_loss.backward()
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.gradient_clip)
        state.optimizer.step()
        running.add(value, float(((mean.detach() - target) ** 2).sum()), len(rows))
        yield Step(epoch, index + 1, len(batches), value)


def _drop(mask: Tensor, state: TrainState) -> Tensor:
    """Hide receivers at random, so that the network leans on none of them."""
    kept = torch.rand(mask.shape) >= state.config.receiver_dropout
    return mask & kept


@torch.no_grad()
def predict(state: TrainState, samples: Samples) -> tuple[Predictions, float]:
    """In metres, and the mean loss in units."""
    state.model.eval()
    means, factors, total = [], [], 0.0
    for rows in torch.arange(len(samples)).split(_PREDICT_BATCH):
        mean, factor = state.model(samples.tokens[rows], samples.mask[rows])
        total += float(loss(mean, factor, samples.target[rows]).double().sum())
        means.append(mean.double().numpy())
        factors.append(factor.double().numpy())
    lower = np.concatenate(factors) * state.normaliser.metres
    covariance = lower @ lower.transpose(0, 2, 1)
    centre = state.normaliser.positions_to_metres(np.concatenate(means))
    return Predictions(centre, covariance), total / len(samples)
