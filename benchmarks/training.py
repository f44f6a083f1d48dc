"""What the accuracy benchmarks share: one training through the engine, as a job would do it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import torch

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.evaluation.evaluate import evaluate_localizer
from training.localization.fit import calibration, loop
from training.localization.fit.state import TrainState
from training.localization.localizer.localizer import Localizer


@dataclass(frozen=True)
class Done:
    answer: Localizer
    evaluation: dict[str, Any]
    seconds: float


def train(dataset: Dataset, **config: Any) -> Done:
    """Train with the default settings but for `config`, and evaluate the best epoch once."""
    torch.set_num_threads(1)
    state = TrainState.initial(TrainConfig.model_validate(config), dataset)
    started, best = time.perf_counter(), state.model.state_dict()
    for progress in loop.fit(state, dataset):
        if isinstance(progress, loop.EpochResult) and progress.is_best:
            best = copy.deepcopy(state.model.state_dict())
    seconds = time.perf_counter() - started
    state.model.load_state_dict(best)
    answer = calibration.calibrate(state, dataset)
    return Done(answer, evaluate_localizer(answer, dataset), seconds)


def line(name: str, errors: dict[str, float], more: str = "") -> None:
    """One row of a table, in metres."""
    figures = "".join(f"{errors[key]:10,.0f}" for key in ("mean_m", "rmse_m", "median_m", "p95_m"))
    print(f"{name:34}{figures}  {more}", flush=True)


def head() -> None:
    print(f"{'':34}{'mean':>10}{'RMSE':>10}{'median':>10}{'p95':>10}  metres, test split")
