"""One small model, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.evaluation.evaluate import evaluate_localizer
from training.localization.fit import calibration
from training.localization.fit.loop import fit
from training.localization.fit.state import TrainState
from training.localization.inference import saved_model
from training.localization.localizer.localizer import Localizer
from training.programs.checkpoint_files import MODEL

# Threads that wait for each other spin: on two busy cores two of them take thirty times as long.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained_state(arrays: Dataset) -> TrainState:
    """A few epochs on the small dataset."""
    config = TrainConfig(
        epochs=6, hidden=32, heads=2, layers=1, batch_size=32, members=2, portfolio=False
    )
    state = TrainState.initial(config, arrays)
    for _ in fit(state, arrays):
        pass
    return state


@pytest.fixture(scope="session")
def localizer(trained_state: TrainState, arrays: Dataset) -> Localizer:
    return calibration.calibrate(trained_state, arrays)


@pytest.fixture(scope="session")
def model_file(
    trained_state: TrainState,
    localizer: Localizer,
    arrays: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("model")
    saved_model.save_model(
        folder, localizer, trained_state, arrays, evaluate_localizer(localizer, arrays)
    )
    return folder / MODEL
