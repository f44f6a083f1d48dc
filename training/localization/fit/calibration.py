"""What turns a trained network into an answer: whether to refine it, and how sure to be."""

from __future__ import annotations

from training.localization import metrics
from training.localization.data.dataset import Dataset
from training.localization.fit.distributed import SINGLE_PROCESS, DistributedContext
from training.localization.fit.state import TrainState
from training.localization.fit.tensors import EncodedSplit, predict_rows
from training.localization.localizer.localizer import Localizer
from training.localization.metrics import Predictions


def calibrate(
    state: TrainState, dataset: Dataset, context: DistributedContext = SINGLE_PROCESS
) -> Localizer:
    """The model as it will be used; what is chosen here is chosen on the validation split."""
    val = EncodedSplit.from_dataset(dataset, state.normalizer, "val", context.device)
    found = Localizer(state.model, state.normalizer, state.config.refine).to(context.device)
    network, said = predict_rows(found, val)
    if _rmse(network, val) <= _rmse(said, val):
        found.refined, said = False, network
    group = dataset.group[dataset.rows("val")]
    found.temperature, widest = (
        metrics.conservative_temperature(said, val.metres, group, share) for share in (0.68, 0.95)
    )
    found.stretch_95 = widest / found.temperature
    return found


def _rmse(said: Predictions, val: EncodedSplit) -> float:
    return metrics.rmse(metrics.position_errors(said.mean, val.metres)) or 0.0
