"""The training loop: a generator that yields what happened, and does no I/O."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training.localization import metrics
from training.localization.config import LossKind
from training.localization.data.dataset import Dataset
from training.localization.evaluation import cramer_rao
from training.localization.fit.distributed import SINGLE_PROCESS, DistributedContext
from training.localization.fit.state import TrainState, learning_rate, seed_everything
from training.localization.fit.tensors import EncodedSplit, predict_rows
from training.localization.localizer.localizer import Localizer
from training.localization.localizer.loss import loss
from training.localization.metrics import Predictions

TRAIN_EVAL_SAMPLES = 512  # samples of the training split, on which `train_rmse` is measured
_CHECK_EVERY = 32  # batches, after which the losses are looked at; each look waits for the device


class DivergedError(Exception):
    """The loss is not a finite number any more; the message says where and what to try."""


@dataclass(frozen=True, slots=True)
class Step:
    """One batch is done; `loss` is still on the device, and reading it waits for it."""

    epoch: int
    batch: int
    total_batches: int
    loss: Tensor


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch is done; `seconds` is apart from the metrics, which the seed decides."""

    epoch: int
    metrics: dict[str, float | None]
    is_best: bool
    seconds: float


def fit(
    state: TrainState, dataset: Dataset, context: DistributedContext = SINGLE_PROCESS
) -> Iterator[Step | EpochResult]:
    """Train `state` on, epoch by epoch, until it is over; stop asking to stop it."""
    state.to(context.device)
    train, val = (
        EncodedSplit.from_dataset(dataset, state.normalizer, split, context.device)
        for split in ("train", "val")
    )
    answer = Localizer(state.model, state.normalizer, state.config.refine).to(context.device)
    seen = train.spread(TRAIN_EVAL_SAMPLES)
    good = cramer_rao.good_geometry(dataset, dataset.rows("val")).mask
    while not state.is_finished:
        started = time.perf_counter()
        train_loss = yield from _train(state, train, context)
        network, answered = predict_rows(answer, val)
        # The network alone is judged by its loss; the metrics are of what will be answered.
        val_loss = calibrated_loss(network, val, state.normalizer.metres, state.config.loss)
        # Both errors are of what will be answered, without dropout, so that they compare.
        on_train = metrics.position_errors(predict_rows(answer, seen)[1].mean, seen.metres)
        rate = learning_rate(state.config, state.epoch / state.config.epochs)
        is_best = state.finish_epoch(val_loss)
        found: dict[str, float | None] = {
            "train_loss": train_loss,
            "val_loss": val_loss,
            "train_rmse": metrics.rmse(on_train),
            **metrics.validation_metrics(answered, val.metres, good),
            "learning_rate": rate,
        }
        yield EpochResult(state.epoch, found, is_best, time.perf_counter() - started)


def calibrated_loss(
    predicted: Predictions, val: EncodedSplit, metres: float, kind: LossKind = "distance"
) -> float:
    """The loss, in units, after the tempering that every model gets before it is used.

    Without it an epoch whose errors are smaller loses to one that is merely less sure of itself.
    """
    distance = metrics.position_errors(predicted.mean, val.metres) / metres
    pull = float((distance**2 / 2 if kind == "squared" else distance).mean())
    tempered = predicted.tempered(metrics.maximum_likelihood_temperature(predicted, val.metres))
    nll = metrics.negative_log_likelihood(tempered, val.metres) - 2 * math.log(metres)
    return pull + nll


def _train(
    state: TrainState, train: EncodedSplit, context: DistributedContext
) -> Generator[Step, None, float]:
    """One epoch; the mean loss of its samples."""
    config, epoch = state.config, state.epoch + 1
    seed_everything(config.seed, epoch)
    batches = torch.randperm(len(train)).split(config.batch_size)
    state.model.train()
    # Found once: to walk through the modules again for each batch costs as much as a layer.
    members = [list(member.parameters()) for member in state.model.members]
    losses: list[Tensor] = []
    for index, rows in enumerate(batches):
        rate = learning_rate(config, (state.epoch + index / len(batches)) / config.epochs)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        losses.append(_step(state, train, rows, members, context))
        if len(losses) % _CHECK_EVERY == 0:
            _check_finite(
                losses[-_CHECK_EVERY:], epoch, index + 2 - _CHECK_EVERY, config.learning_rate
            )
        yield Step(epoch, index + 1, len(batches), losses[-1])
    each = _check_finite(losses, epoch, 1, config.learning_rate)
    return float(np.average(each, weights=[len(rows) for rows in batches]))


def _check_finite(losses: list[Tensor], epoch: int, first: int, rate: float) -> list[float]:
    """The losses of the batches from `first` on; DivergedError where one is no number."""
    found: list[float] = torch.stack(losses).tolist()
    for batch, value in enumerate(found, first):
        if not math.isfinite(value):
            raise DivergedError(
                f"The loss became {value} in epoch {epoch}, batch {batch}: try a smaller "
                f"learning_rate than {rate:g}"
            )
    return found


def _step(
    state: TrainState,
    train: EncodedSplit,
    rows: Tensor,
    members: list[list[nn.Parameter]],
    context: DistributedContext,
) -> Tensor:
    """Learn from one batch, of which each process takes a part; its loss."""
    total, mine = len(rows), context.shard(len(rows))
    # Random numbers are drawn for the whole batch everywhere, so that the number of processes
    # decides nothing.
    kept = torch.rand(total, train.mask.shape[1]) >= state.config.receiver_dropout
    kept[:, 0] = True
    state.model.share.total, state.model.share.mine = total, mine
    rows = rows[mine].to(context.device)
    mask = train.mask[rows] & kept[mine].to(context.device)
    target = train.target[rows]
    with torch.autocast(context.device.type, torch.bfloat16, enabled=_in_bf16(state, context)):
        means, factors = state.model(train.tokens[rows], mask)
    # Summed over the members, of which each is a training of its own.
    value = loss(means, factors, target, state.config.loss).sum() / total
    state.optimizer.zero_grad()
    value.backward()
    told = value.detach() / len(members)
    gradients = [one.grad for member in members for one in member if one.grad is not None]
    context.all_reduce([*gradients, told])
    for member in members:
        nn.utils.clip_grad_norm_(member, state.config.gradient_clip)
    state.optimizer.step()
    return told


def _in_bf16(state: TrainState, context: DistributedContext) -> bool:
    return state.config.precision == "bf16" and context.device.type == "cuda"
