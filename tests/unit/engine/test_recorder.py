from __future__ import annotations

from pathlib import Path

import pytest

from training.engine import checkpoint
from training.engine.checkpoint import CheckpointError
from training.engine.config import TrainConfig
from training.engine.dataset import Dataset
from training.engine.files import EPOCHS, file_of
from training.engine.recorder import Recorder
from training.engine.state import TrainState


@pytest.fixture
def state(arrays: Dataset) -> TrainState:
    return TrainState.fresh(TrainConfig(hidden=16, heads=2, layers=1), arrays)


def keep(recorder: Recorder, state: TrainState) -> None:
    is_best = state.finish_epoch(1 / (state.epoch + 1))
    recorder.keep(state, is_best, b"epoch %d\n" % state.epoch)


def test_each_epoch_is_told_in_order_and_its_checkpoint_is_of_its_end(
    state: TrainState, tmp_path: Path
) -> None:
    weight = next(state.model.parameters()).data
    with (tmp_path / "told").open("w") as out, Recorder(tmp_path, out.fileno()) as recorder:
        for _ in range(3):
            weight.fill_(state.epoch + 1)
            keep(recorder, state)
            weight.zero_()
    assert (tmp_path / "told").read_text() == "epoch 1\nepoch 2\nepoch 3\n"
    for epoch in (2, 3):
        kept = checkpoint.load(file_of(tmp_path, EPOCHS, epoch))
        assert kept.epoch == next(kept.model.parameters()).max() == epoch


def test_what_goes_wrong_is_raised_by_the_next_call_and_nothing_of_it_is_told(
    state: TrainState, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    with (tmp_path / "told").open("w") as out, Recorder(folder, out.fileno()) as recorder:
        keep(recorder, state)
        with pytest.raises(CheckpointError, match=r"epoch 1 cannot be written .* No such file"):
            recorder.finish()
        assert recorder.is_idle()
    assert (tmp_path / "told").read_text() == ""


def test_the_last_epoch_is_waited_for(state: TrainState, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "gone")
    keep(recorder, state)
    with pytest.raises(CheckpointError, match="epoch 1 cannot be written"):
        recorder.__exit__(None, None, None)


def test_a_scribe_that_is_killed_is_missed(state: TrainState, tmp_path: Path) -> None:
    with Recorder(tmp_path / "gone") as recorder:
        keep(recorder, state)
        with pytest.raises(CheckpointError):
            recorder.finish()
        assert recorder._scribe is not None
        recorder._scribe.kill()
        recorder._scribe.wait()
        keep(recorder, state)
        with pytest.raises(RuntimeError, match="ended"):
            recorder.finish()
        recorder._under_way = False
