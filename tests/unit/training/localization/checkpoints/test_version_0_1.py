"""A checkpoint that version 0.1 wrote: its settings hold the queue policy too."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from training.localization.checkpoints.store import Store
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.loop import EpochResult, fit
from training.localization.fit.state import TrainState

WRITTEN = Path(__file__).parent / "version_0_1"


def results(state: TrainState, dataset: Dataset) -> list[EpochResult]:
    return [result for result in fit(state, dataset) if isinstance(result, EpochResult)]


def test_checkpoint_of_version_0_1_resumes_to_the_numbers_of_a_straight_run(
    arrays: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "attempt-001"
    shutil.copytree(WRITTEN, folder)
    resumed = Store(folder).resume(folder / "epoch-000002.safetensors")
    assert resumed.unusable == [] and resumed.state and resumed.state.epoch == 2
    config = TrainConfig(epochs=4, batch_size=64, hidden=16, layers=1, heads=2, patience=10, seed=1)
    assert resumed.state.config == config

    straight = results(TrainState.initial(config, arrays), arrays)
    continued = results(resumed.state, arrays)
    assert [result.epoch for result in continued] == [3, 4]
    for result, expected in zip(continued, straight[2:], strict=True):
        # Another processor rounds differently than the one that wrote the checkpoint.
        assert result.metrics == pytest.approx(expected.metrics, rel=1e-3)
        assert replace(result, metrics={}, seconds=0) == replace(expected, metrics={}, seconds=0)
