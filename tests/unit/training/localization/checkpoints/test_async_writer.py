from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from heimdall_sdk.checkpoint_names import BESTS, EPOCHS, checkpoint_path
from tests.polling import eventually
from training.localization.checkpoints import store
from training.localization.checkpoints.async_writer import AsyncCheckpointWriter
from training.localization.checkpoints.store import CheckpointError
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.state import TrainState
from training.programs.messages import EpochEnded


@pytest.fixture
def state(arrays: Dataset) -> TrainState:
    return TrainState.initial(TrainConfig(hidden=16, heads=2, layers=1), arrays)


def ended(epoch: int) -> EpochEnded:
    return EpochEnded(epoch=epoch, metrics={}, seconds=0.1, is_best=False)


def keep(recorder: AsyncCheckpointWriter, state: TrainState) -> None:
    is_best = state.finish_epoch(1 / (state.epoch + 1))
    recorder.keep(state, is_best, ended(state.epoch))


@contextmanager
def recording(folder: Path, pace: float) -> Iterator[AsyncCheckpointWriter]:
    with (
        (folder / "told").open("w") as out,
        AsyncCheckpointWriter(folder, out.fileno(), pace) as recorder,
    ):
        yield recorder


def reported(folder: Path) -> list[dict[str, Any]]:
    return [
        {name: message[name] for name in ("epoch", "checkpoint_path") if message[name]}
        for message in map(json.loads, (folder / "told").read_text().splitlines())
    ]


def checkpoints(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.safetensors")}


def test_epochs_are_reported_in_order_with_the_checkpoint_of_their_end(
    state: TrainState, tmp_path: Path
) -> None:
    weight = next(state.model.parameters()).data
    with recording(tmp_path, pace=0) as recorder:
        for _ in range(3):
            weight.fill_(state.epoch + 1)
            keep(recorder, state)
            weight.zero_()
    assert reported(tmp_path) == [
        {"epoch": epoch, "checkpoint_path": str(checkpoint_path(tmp_path, EPOCHS, epoch))}
        for epoch in (1, 2, 3)
    ]
    for epoch in (1, 2, 3):
        kept = store.load_checkpoint(checkpoint_path(tmp_path, EPOCHS, epoch))
        assert kept.epoch == next(kept.model.parameters()).max() == epoch


def test_short_epochs_share_the_last_checkpoint_and_the_best_has_a_separate_one(
    state: TrainState, tmp_path: Path
) -> None:
    weight = next(state.model.parameters()).data
    with recording(tmp_path, pace=60) as recorder:
        for is_best in (False, True, True, False, False):
            state.epoch += 1
            weight.fill_(state.epoch)
            recorder.keep(state, is_best, ended(state.epoch))
            weight.zero_()
        assert not recorder.is_idle()
    assert [line["epoch"] for line in reported(tmp_path)] == [1, 2, 3, 4, 5]
    assert [line.get("checkpoint_path") for line in reported(tmp_path)] == [
        str(checkpoint_path(tmp_path, EPOCHS, 1)), None, None, None,
        str(checkpoint_path(tmp_path, EPOCHS, 5)),
    ]  # fmt: skip
    assert checkpoints(tmp_path) == {"epoch-000001", "best-000003", "epoch-000005"}
    for kind, epoch in ((BESTS, 3), (EPOCHS, 5)):
        kept = store.load_checkpoint(checkpoint_path(tmp_path, kind, epoch))
        assert kept.epoch == next(kept.model.parameters()).max() == epoch


def test_short_epoch_is_reported_during_a_long_one(state: TrainState, tmp_path: Path) -> None:
    with recording(tmp_path, pace=0.2) as recorder:
        keep(recorder, state)
        keep(recorder, state)
        eventually(recorder.is_idle)
        assert [line["epoch"] for line in reported(tmp_path)] == [1, 2]


def test_epochs_before_an_error_are_reported(state: TrainState, tmp_path: Path) -> None:
    def fail(recorder: AsyncCheckpointWriter) -> None:
        keep(recorder, state)
        keep(recorder, state)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), recording(tmp_path, pace=60) as recorder:
        fail(recorder)
    assert [line["epoch"] for line in reported(tmp_path)] == [1, 2]


def test_error_is_raised_by_the_next_call_and_the_epoch_is_not_reported(
    state: TrainState, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    with (
        (tmp_path / "told").open("w") as out,
        AsyncCheckpointWriter(folder, out.fileno()) as recorder,
    ):
        keep(recorder, state)
        with pytest.raises(CheckpointError, match=r"epoch 1 cannot be written .* No such file"):
            recorder.finish()
        assert recorder.is_idle()
    assert (tmp_path / "told").read_text() == ""


def test_closing_the_writer_waits_for_the_last_epoch(state: TrainState, tmp_path: Path) -> None:
    recorder = AsyncCheckpointWriter(tmp_path / "gone", messages_fd=2)
    keep(recorder, state)
    with pytest.raises(CheckpointError, match="epoch 1 cannot be written"):
        recorder.__exit__(None, None, None)


def test_killed_writer_process_is_detected(state: TrainState, tmp_path: Path) -> None:
    with AsyncCheckpointWriter(tmp_path / "gone", messages_fd=2) as recorder:
        keep(recorder, state)
        with pytest.raises(CheckpointError):
            recorder.finish()
        assert recorder._writer_process is not None
        recorder._writer_process.kill()
        recorder._writer_process.wait()
        keep(recorder, state)
        with pytest.raises(RuntimeError, match="ended"):
            recorder.finish()
