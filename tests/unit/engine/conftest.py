"""One small model, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.engine import calibration, evaluation, trained
from training.engine.answer import Answer
from training.engine.config import TrainConfig
from training.engine.dataset import Dataset
from training.engine.loop import fit
from training.engine.state import TrainState

# Threads that wait for each other spin: on two busy cores two of them take thirty times as long.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def learnt(arrays: Dataset) -> TrainState:
    """A few epochs on the small dataset."""
    config = TrainConfig(epochs=6, hidden=32, heads=2, layers=1, batch_size=32, members=2)
    state = TrainState.fresh(config, arrays)
    for _ in fit(state, arrays):
        pass
    return state


@pytest.fixture(scope="session")
def answer(learnt: TrainState, arrays: Dataset) -> Answer:
    return calibration.answer(learnt, arrays)


@pytest.fixture(scope="session")
def model_file(
    learnt: TrainState,
    answer: Answer,
    arrays: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("model")
    trained.save(folder, answer, learnt, arrays, evaluation.evaluate(answer, arrays))
    return folder / trained.MODEL
