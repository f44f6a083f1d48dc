"""A checkpoint of version 0.1, whose settings include the queue policy.

Its network is continued as it was: tokens unscaled, one layer for mean and covariance, and no
averaged weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from training.localization.checkpoints.store import Store, load_checkpoint
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.loop import EpochResult, fit
from training.localization.fit.state import TrainState

WRITTEN = Path(__file__).parent / "version_0_1"
# What version 0.2 measured when it continued the checkpoint.
CONTINUED = {
    3: {
        "train_loss": 4.338596877597627,
        "val_loss": 4.086340362313975,
        "train_rmse": 2128.207051348394,
        "val_rmse": 816.6728218401728,
        "val_nll": 13.659492403825844,
        "learning_rate": 0.0010917535520176091,
    },
    4: {
        "train_loss": 4.199603466760545,
        "val_loss": 4.064177685180492,
        "train_rmse": 2103.910457472578,
        "val_rmse": 825.7793564000286,
        "val_nll": 13.684434233308451,
        "learning_rate": 0.00033949124409051655,
    },
}


@pytest.fixture
def resumed(tmp_path: Path) -> TrainState:
    folder = tmp_path / "attempt-001"
    shutil.copytree(WRITTEN, folder)
    found = Store(folder).resume(folder / "epoch-000002.safetensors")
    assert found.unusable == [] and found.state and found.state.epoch == 2
    return found.state


def results(state: TrainState, dataset: Dataset) -> list[EpochResult]:
    return [result for result in fit(state, dataset) if isinstance(result, EpochResult)]


def test_checkpoint_of_version_0_1_continues_with_the_numbers_of_version_0_2(
    resumed: TrainState, arrays: Dataset
) -> None:
    assert resumed.config == TrainConfig(
        epochs=4, batch_size=64, hidden=16, layers=1, heads=2, patience=10, seed=1
    )
    continued = {result.epoch: result.metrics for result in results(resumed, arrays)}
    assert continued.keys() == CONTINUED.keys()
    for epoch, expected in CONTINUED.items():
        found = {name: continued[epoch][name] for name in expected}
        # Another processor rounds differently than the one that measured this.
        assert found == pytest.approx(expected, rel=1e-3)


def test_continued_training_of_version_0_1_can_be_paused_again(
    resumed: TrainState, arrays: Dataset, tmp_path: Path
) -> None:
    straight: list[EpochResult] = []
    for progress in fit(resumed, arrays):
        if isinstance(progress, EpochResult):
            straight.append(progress)
            Store(tmp_path).save(resumed, progress.is_best)
    again = load_checkpoint(tmp_path / "epoch-000003.safetensors")
    assert again.averaged is None
    (last,) = results(again, arrays)
    assert last.metrics == straight[-1].metrics
