"""The training loop: a generator that yields what happened, and does no I/O."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.engine import bounds, metrics
from training.engine.answer import Answer
from training.engine.config import LossKind
from training.engine.dataset import Dataset
from training.engine.loss import loss
from training.engine.machine import ALONE, Machine
from training.engine.metrics import Predictions
from training.engine.samples import Samples, predict
from training.engine.state import TrainState, learning_rate, seed_everything

_SEEN = 512  # samples of the training split, on which `train_rmse` is measured


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


@dataclass(slots=True)
class _Running:
    """Sums over an epoch's batches."""

    samples: int = 0
    loss: float = 0.0

    def add(self, batch_loss: float, size: int) -> None:
        self.samples += size
        self.loss += batch_loss * size


def fit(
    state: TrainState, dataset: Dataset, machine: Machine = ALONE
) -> Iterator[Step | EpochResult]:
    """Train `state` on, epoch by epoch, until it is over; stop asking to stop it."""
    state.to(machine.device)
    train, val = (
        Samples.of(dataset, state.normaliser, split, machine.device) for split in ("train", "val")
    )
    plain, answer = (
        Answer(state.model, state.normaliser, wish).to(machine.device)
        for wish in (False, state.config.refine)
    )
    seen = train.spread(_SEEN)
    good = bounds.good_geometry(dataset, dataset.rows("val")).mask
    while not state.is_over:
        started = time.perf_counter()
        running = _Running()
        yield from _train(state, train, running, machine)
        predicted = predict(plain, val)
        # The network alone is judged by its loss; the metrics are of what will be answered.
        val_loss = calibrated_loss(predicted, val, state.normaliser.metres, state.config.loss)
        if answer.refined:
            predicted = predict(answer, val)
        # Both errors are of what will be answered, without dropout, so that they compare.
        on_train = metrics.position_errors(predict(answer, seen).mean, seen.metres)
        rate = learning_rate(state.config, state.epoch / state.config.epochs)
        is_best = state.finish_epoch(val_loss)
        found: dict[str, float | None] = {
            "train_loss": running.loss / running.samples,
            "val_loss": val_loss,
            "train_rmse": metrics.rmse(on_train),
            **metrics.of_validation(predicted, val.metres, good),
            "learning_rate": rate,
        }
        yield EpochResult(state.epoch, found, is_best, time.perf_counter() - started)


def calibrated_loss(
    predicted: Predictions, val: Samples, metres: float, kind: LossKind = "distance"
) -> float:
    """The loss, in units, after the tempering that every model gets before it is used.

    Without it an epoch whose errors are smaller loses to one that is merely less sure of itself.
    """
    distance = metrics.position_errors(predicted.mean, val.metres) / metres
    pull = float((distance**2 / 2 if kind == "squared" else distance).mean())
    tempered = predicted.tempered(metrics.likeliest_temperature(predicted, val.metres))
    nll = metrics.negative_log_likelihood(tempered, val.metres) - 2 * math.log(metres)
    return pull + nll


def _train(
    state: TrainState, train: Samples, running: _Running, machine: Machine
) -> Iterator[Step]:
    config, epoch = state.config, state.epoch + 1
    seed_everything(config.seed, epoch)
    batches = torch.randperm(len(train)).split(config.batch_size)
    state.model.train()
    for index, rows in enumerate(batches):
        rate = learning_rate(config, (state.epoch + index / len(batches)) / config.epochs)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        value = _step(state, train, rows, machine)
        if not math.isfinite(value):
            raise DivergedError(
                f"The loss became {value} in epoch {epoch}, batch {index + 1}: try a smaller "
                f"learning_rate than {config.learning_rate:g}"
            )
        running.add(value, len(rows))
        yield Step(epoch, index + 1, len(batches), value)


def _step(state: TrainState, train: Samples, rows: Tensor, machine: Machine) -> float:
    """Learn from one batch, of which each process takes a part; its loss."""
    total, mine = len(rows), machine.share(len(rows))
    # Random numbers are drawn for the whole batch everywhere, so that the number of processes
    # decides nothing.
    kept = torch.rand(total, train.mask.shape[1]) >= state.config.receiver_dropout
    kept[:, 0] = True
    state.model.share.total, state.model.share.mine = total, mine
    rows = rows[mine].to(machine.device)
    mask = train.mask[rows] & kept[mine].to(machine.device)
    target = train.target[rows]
    with torch.autocast(machine.device.type, torch.bfloat16, enabled=_in_bf16(state, machine)):
        means, factors = state.model(train.tokens[rows], mask)
    losses = loss(means, factors, target, state.config.loss).sum(dim=1) / total  # [K]
    state.optimizer.zero_grad()
    losses.sum().backward()
    told = losses.detach().mean()
    gradients = [one.grad for one in state.model.parameters() if one.grad is not None]
    machine.add_up([*gradients, told])
    for member in state.model.members:  # each is a training of its own
        nn.utils.clip_grad_norm_(member.parameters(), state.config.gradient_clip)
    state.optimizer.step()
    return float(told)


def _in_bf16(state: TrainState, machine: Machine) -> bool:
    return state.config.precision == "bf16" and machine.device.type == "cuda"
