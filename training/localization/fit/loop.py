"""The training loop: a generator that yields progress and does no I/O."""

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
from training.localization.fit.tensors import EncodedSplit, predict_encoded
from training.localization.localizer.localizer import Localizer
from training.localization.localizer.loss import loss
from training.localization.metrics import Predictions
from training.programs.messages import FinalError

TRAIN_EVAL_SAMPLES = 512  # samples of the training split used for `train_rmse`
_CHECK_EVERY = 32  # batches between checks of the loss; a check synchronizes with the device


class DivergedError(FinalError):
    """The loss became infinite or NaN."""


@dataclass(frozen=True, slots=True)
class Step:
    """One batch is done; reading `loss` synchronizes with the device."""

    epoch: int
    batch: int
    total_batches: int
    loss: Tensor


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch is done; the metrics are reproducible, `seconds` is not."""

    epoch: int
    metrics: dict[str, float | None]
    is_best: bool
    seconds: float


def fit(
    state: TrainState, dataset: Dataset, context: DistributedContext = SINGLE_PROCESS
) -> Iterator[Step | EpochResult]:
    state.to(context.device)
    train, val = (
        EncodedSplit.from_dataset(dataset, state.normalizer, split, context.device)
        for split in ("train", "val")
    )
    localizer = Localizer(state.predictor, state.normalizer, state.config.refine).to(context.device)
    train_eval = train.subsample(TRAIN_EVAL_SAMPLES)
    good = cramer_rao.find_good_geometry(dataset, dataset.rows("val")).mask
    while not state.is_finished:
        started = time.perf_counter()
        train_loss = yield from _train_epoch(state, train, context)
        network, refined = predict_encoded(localizer, val)
        # The loss uses the network's output, the metrics the refined predictions. Both RMSE are
        # measured without dropout, so that they can be compared.
        val_loss = calibrated_loss(
            network, val, state.normalizer.meters_per_unit, state.config.loss
        )
        train_errors = metrics.position_errors(
            predict_encoded(localizer, train_eval)[1].mean, train_eval.target_meters
        )
        rate = learning_rate(state.config, state.epoch / state.config.epochs)
        is_best = state.finish_epoch(val_loss)
        epoch_metrics: dict[str, float | None] = {
            "train_loss": train_loss,
            "val_loss": val_loss,
            "train_rmse": metrics.rmse(train_errors),
            **metrics.validation_metrics(refined, val.target_meters, good),
            "learning_rate": rate,
        }
        yield EpochResult(state.epoch, epoch_metrics, is_best, time.perf_counter() - started)


def calibrated_loss(
    predicted: Predictions, val: EncodedSplit, meters_per_unit: float, kind: LossKind = "distance"
) -> float:
    """The loss in normalized units, after temperature scaling, which every model gets before use.

    Without it, an epoch with smaller errors can have a higher loss than one that is only less
    confident.
    """
    error = metrics.position_errors(predicted.mean, val.target_meters) / meters_per_unit
    mean_error = float((error**2 / 2 if kind == "squared" else error).mean())
    temperature = metrics.maximum_likelihood_temperature(predicted, val.target_meters)
    calibrated = predicted.with_temperature(temperature)
    nll = metrics.negative_log_likelihood(calibrated, val.target_meters)
    return mean_error + (nll - 2 * math.log(meters_per_unit))


def _train_epoch(
    state: TrainState, train: EncodedSplit, context: DistributedContext
) -> Generator[Step, None, float]:
    config, epoch = state.config, state.epoch + 1
    seed_everything(config.seed, epoch)
    batches = torch.randperm(len(train)).split(config.batch_size)
    state.model.train()
    # Collected once: walking the modules for each batch costs as much as a layer.
    clip_groups = state.model.clip_groups()
    losses: list[Tensor] = []
    for index, rows in enumerate(batches):
        rate = learning_rate(config, (state.epoch + index / len(batches)) / config.epochs)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        losses.append(_train_batch(state, train, rows, clip_groups, context))
        state.update_average(state.epoch * len(batches) + index + 1)
        if len(losses) % _CHECK_EVERY == 0:
            first = index + 2 - _CHECK_EVERY
            _check_finite(losses[-_CHECK_EVERY:], epoch, first, config.learning_rate)
        yield Step(epoch, index + 1, len(batches), losses[-1])
    values = _check_finite(losses, epoch, 1, config.learning_rate)
    return float(np.average(values, weights=[len(rows) for rows in batches]))


def _check_finite(losses: list[Tensor], epoch: int, first: int, rate: float) -> list[float]:
    values: list[float] = torch.stack(losses).tolist()
    for batch, value in enumerate(values, first):
        if not math.isfinite(value):
            raise DivergedError(
                f"The loss became {value} in epoch {epoch}, batch {batch}; try a learning_rate "
                f"smaller than {rate:g}"
            )
    return values


def _train_batch(
    state: TrainState,
    train: EncodedSplit,
    rows: Tensor,
    clip_groups: list[list[nn.Parameter]],
    context: DistributedContext,
) -> Tensor:
    batch_size, shard = len(rows), context.shard(len(rows))
    # Every process draws random numbers for the whole batch, so that the result does not depend on
    # the number of processes.
    visible = torch.rand(batch_size, train.mask.shape[1]) >= state.config.receiver_dropout
    visible[:, 0] = True  # the aggregate token
    state.model.shard.set(batch_size, shard)
    rows = rows[shard].to(context.device)
    mask = train.mask[rows] & visible[shard].to(context.device)
    target = train.target[rows]
    with torch.autocast(context.device.type, torch.bfloat16, enabled=_use_bf16(state, context)):
        means, factors = state.model(train.tokens[rows], mask)
    # The sum over the members, which train independently of each other.
    value = loss(means, factors, target, state.config.loss).sum() / batch_size
    state.optimizer.zero_grad()
    value.backward()
    mean_loss = value.detach() / len(state.model.members)
    gradients = [
        parameter.grad for group in clip_groups for parameter in group if parameter.grad is not None
    ]
    context.all_reduce([*gradients, mean_loss])
    for group in clip_groups:
        nn.utils.clip_grad_norm_(group, state.config.gradient_clip)
    state.optimizer.step()
    return mean_loss


def _use_bf16(state: TrainState, context: DistributedContext) -> bool:
    return state.config.precision == "bf16" and context.device.type == "cuda"
