"""What turns a trained network into an answer: whether to refine it, and how sure to be."""

from __future__ import annotations

from training.engine import metrics
from training.engine.answer import Answer
from training.engine.dataset import Dataset
from training.engine.machine import ALONE, Machine
from training.engine.metrics import Predictions
from training.engine.samples import Samples, predict
from training.engine.state import TrainState


def answer(state: TrainState, dataset: Dataset, machine: Machine = ALONE) -> Answer:
    """The model as it will be used; what is chosen here is chosen on the validation split."""
    val = Samples.of(dataset, state.normaliser, "val", machine.device)
    found = Answer(state.model, state.normaliser, state.config.refine).to(machine.device)
    network, said = predict(found, val)
    if _rmse(network, val) <= _rmse(said, val):
        found.refined, said = False, network
    group = dataset.group[dataset.rows("val")]
    found.temperature, widest = (
        metrics.cautious_temperature(said, val.metres, group, share) for share in (0.68, 0.95)
    )
    found.stretch_95 = widest / found.temperature
    return found


def _rmse(said: Predictions, val: Samples) -> float:
    return metrics.rmse(metrics.position_errors(said.mean, val.metres)) or 0.0
