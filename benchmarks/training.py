"""Shared by the accuracy benchmarks: train and evaluate a model as a job does."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import torch

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.evaluation.evaluate import evaluate_localizer
from training.localization.evaluation.types import Evaluation
from training.localization.fit import calibration, loop
from training.localization.fit.fine_tuning import Origin, initial_state
from training.localization.fit.state import TrainState
from training.localization.localizer.localizer import Localizer
from training.localization.metrics import ErrorSummary

_COLUMNS = ("mean_m", "rmse_m", "median_m", "p95_m")


@dataclass(frozen=True)
class Run:
    localizer: Localizer
    evaluation: Evaluation
    seconds: float
    final_seconds: float  # portfolio, calibration and evaluation


def train(dataset: Dataset, **config: Any) -> Run:
    """Train with the default settings except `config`, and evaluate the best epoch."""
    return _run(TrainState.initial(TrainConfig.model_validate(config), dataset), dataset)


def fine_tune(origin: Origin, dataset: Dataset, **config: Any) -> Run:
    """`train` from the weights of a model."""
    return _run(initial_state(origin, TrainConfig.model_validate(config), dataset), dataset)


def _run(state: TrainState, dataset: Dataset) -> Run:
    torch.set_num_threads(1)
    started, best = time.perf_counter(), state.predictor.state_dict()
    for progress in loop.fit(state, dataset):
        if isinstance(progress, loop.EpochResult) and progress.is_best:
            best = copy.deepcopy(state.predictor.state_dict())
    trained = time.perf_counter()
    state.predictor.load_state_dict(best)
    localizer = calibration.calibrate(state, dataset)
    evaluation = evaluate_localizer(localizer, dataset)
    return Run(localizer, evaluation, trained - started, time.perf_counter() - trained)


def print_header() -> None:
    print(f"{'':34}{'mean':>10}{'RMSE':>10}{'median':>10}{'p95':>10}  meters, test split")


def print_row(name: str, errors: ErrorSummary, note: str = "") -> None:
    figures = "".join(_format_meters(errors[column]) for column in _COLUMNS)  # type: ignore[literal-required]
    print(f"{name:34}{figures}  {note}", flush=True)


def print_members(run: Run) -> None:
    for name, alone in run.evaluation["members"].items():
        print_row(f"  {name.replace('_', ' ')}", alone, f"weight {alone['weight']:.2f}")


def _format_meters(value: float) -> str:
    return f"{value:10.2f}" if value < 100 else f"{value:10,.0f}"


def coverage_note(run: Run) -> str:
    test = run.evaluation["test"]
    return (
        f"coverage {test['coverage_68']:.1%} of 68 %, {test['coverage_95']:.1%} of 95 %, "
        f"{run.seconds:.0f} s and {run.final_seconds:.0f} s for the final step"
    )
