from __future__ import annotations

import threading
from pathlib import Path

import pytest

from training.engine import checkpoint
from training.engine.checkpoint import CheckpointError, Store
from training.engine.config import TrainConfig
from training.engine.dataset import Dataset
from training.engine.loop import EpochResult
from training.engine.recorder import Recorder
from training.engine.state import TrainState


@pytest.fixture
def state(arrays: Dataset) -> TrainState:
    return TrainState.fresh(TrainConfig(hidden=16, heads=2, layers=1), arrays)


def ended(state: TrainState) -> EpochResult:
    return EpochResult(state.epoch + 1, {}, state.finish_epoch(1 / (state.epoch + 1)), 0.0)


def test_each_epoch_is_told_in_order_once_its_checkpoint_loads(
    state: TrainState, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    with Recorder(
        Store(tmp_path),
        lambda result, path: told.append((result.epoch, checkpoint.load(path).epoch)),
    ) as recorder:
        for _ in range(4):
            recorder.keep(state, ended(state))
    assert told == [(epoch, epoch) for epoch in range(1, 5)]


def test_training_goes_on_while_an_epoch_is_told_and_changes_nothing_of_it(
    state: TrainState, tmp_path: Path
) -> None:
    goes_on, paths = threading.Event(), []

    def tell(result: EpochResult, path: Path) -> None:
        assert goes_on.wait(10)
        paths.append(path)

    before = next(state.model.parameters()).detach().clone()
    with Recorder(Store(tmp_path), tell) as recorder:
        recorder.keep(state, ended(state))
        assert not recorder.is_idle
        next(state.model.parameters()).data.zero_()
        goes_on.set()
        recorder.finish()
        assert recorder.is_idle
    assert next(checkpoint.load(paths[0]).model.parameters()).equal(before)


def test_what_goes_wrong_beside_the_training_is_raised_in_it_and_nothing_more_is_told(
    state: TrainState, tmp_path: Path
) -> None:
    told: list[int] = []
    with Recorder(
        Store(tmp_path / "gone"), lambda result, path: told.append(result.epoch)
    ) as recorder:
        recorder.keep(state, ended(state))
        with pytest.raises(CheckpointError, match="epoch 1 cannot be written"):
            recorder.keep(state, ended(state))
        recorder._error = None
    assert told == []


def test_the_last_epoch_is_waited_for_and_its_trouble_is_raised(
    state: TrainState, tmp_path: Path
) -> None:
    recorder = Recorder(Store(tmp_path / "gone"), lambda result, path: None)
    recorder.__enter__().keep(state, ended(state))
    with pytest.raises(CheckpointError, match="epoch 1 cannot be written"):
        recorder.__exit__(None, None, None)
