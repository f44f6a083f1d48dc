"""Complete a trained network on the validation split: refinement, portfolio, calibration."""

from __future__ import annotations

from collections.abc import Callable

from training.localization import metrics
from training.localization.data.dataset import Dataset
from training.localization.fit.distributed import SINGLE_PROCESS, DistributedContext
from training.localization.fit.portfolio import fit_portfolio
from training.localization.fit.state import TrainState
from training.localization.fit.tensors import EncodedSplit, predict_encoded
from training.localization.localizer.localizer import Localizer, predict_split
from training.localization.metrics import Predictions


def calibrate(
    state: TrainState,
    dataset: Dataset,
    context: DistributedContext = SINGLE_PROCESS,
    check: Callable[[], None] = lambda: None,
) -> Localizer:
    """`check` is called between the steps of fitting the portfolio, and may raise."""
    val = EncodedSplit.from_dataset(dataset, state.normalizer, "val", context.device)
    localizer = Localizer(state.predictor, state.normalizer, state.config.refine).to(context.device)
    network, predicted = predict_encoded(localizer, val)
    if _rmse(network, val) <= _rmse(predicted, val):
        localizer.refined, predicted = False, network
    if state.config.portfolio:
        portfolio = fit_portfolio(localizer, dataset, predicted, state.config.seed, check)
        if portfolio is not None:
            localizer.portfolio = portfolio
            predicted = predict_split(localizer, dataset, dataset.rows("val"))
    group = dataset.group[dataset.rows("val")]
    localizer.temperature, temperature_95 = (
        metrics.conservative_temperature(predicted, val.target_meters, group, level)
        for level in (0.68, 0.95)
    )
    localizer.stretch_95 = temperature_95 / localizer.temperature
    return localizer


def _rmse(predicted: Predictions, val: EncodedSplit) -> float:
    return metrics.rmse(metrics.position_errors(predicted.mean, val.target_meters)) or 0.0
