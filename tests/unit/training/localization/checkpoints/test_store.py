from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from heimdall_sdk.checkpoint_names import checksum_path
from training.localization.checkpoints import safetensors_file
from training.localization.checkpoints import store as checkpoint
from training.localization.checkpoints.store import CheckpointError, Store
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.state import TrainState
from training.programs import checkpoint_files


@pytest.fixture
def state(arrays: Dataset) -> TrainState:
    return TrainState.initial(TrainConfig(hidden=16, heads=2, layers=1), arrays)


def saved(state: TrainState, folder: Path, losses: list[float]) -> list[Path]:
    return [Store(folder).save(state, state.finish_epoch(loss)) for loss in losses]


def resumed_state(store: Store, path: Path) -> TrainState:
    state = store.resume(path).state
    assert state
    return state


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.safetensors"))


def test_newest_two_checkpoints_and_the_best_are_kept(state: TrainState, tmp_path: Path) -> None:
    saved(state, tmp_path, [3, 1, 2, 4, 5])
    checkpoint_files.prune_older(tmp_path, [], epoch=5)
    assert names(tmp_path) == ["best-000002", "epoch-000004", "epoch-000005"]
    assert len(list(tmp_path.glob("*.sha256"))) == 3
    assert checkpoint.load_checkpoint(Store(tmp_path).best).epoch == 2


def test_unrecorded_checkpoints_do_not_cause_deletion_of_recorded_ones(
    state: TrainState, tmp_path: Path
) -> None:
    """For example, the database is unavailable, and another worker resumes the recorded one."""
    _, _, stored, *_ = saved(state, tmp_path, [3, 1, 2, 4, 0])
    checkpoint_files.prune_older(tmp_path, [], epoch=3)
    assert names(tmp_path) == [
        "best-000002", "best-000005",
        "epoch-000002", "epoch-000003", "epoch-000004", "epoch-000005",
    ]  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    assert resumed_state(Store(other, (tmp_path,)), stored).best_epoch == 2
    assert names(other) == ["best-000002"]


def test_checksum_files_work_with_sha256sum(state: TrainState, tmp_path: Path) -> None:
    saved(state, tmp_path, [1])
    done = subprocess.run(
        ["sha256sum", "--check", "best-000001.safetensors.sha256"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_damaged_checkpoint_is_never_loaded(state: TrainState, tmp_path: Path) -> None:
    (path,) = saved(state, tmp_path, [1])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        checkpoint.load_checkpoint(path)


def test_resume_falls_back_to_the_previous_checkpoint_with_the_reason(
    state: TrainState, tmp_path: Path
) -> None:
    *_, newest = saved(state, tmp_path, [3, 2, 1])
    newest.write_bytes(b"")
    resumed = Store(tmp_path).resume(newest)
    assert resumed.state and resumed.state.epoch == 2
    (reason,) = resumed.unusable
    assert "is damaged" in reason


def test_resume_without_loadable_checkpoint_is_an_error(state: TrainState, tmp_path: Path) -> None:
    for path in saved(state, tmp_path, [2, 1]):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"No checkpoint can be loaded: .* is damaged"):
        Store(tmp_path).resume(tmp_path / "epoch-000002.safetensors")


def remove(*paths: Path) -> None:
    """Remove checkpoints as `prune_older` does."""
    for path in paths:
        path.unlink()
        checksum_path(path).unlink()


def test_missing_checkpoint_is_replaced_by_the_newest_older_one(
    state: TrainState, tmp_path: Path
) -> None:
    """After a restore, the rows are older than the files."""
    *_, named, _, _ = saved(state, tmp_path, [4, 3, 2, 1, 0])
    remove(named)
    resumed = Store(tmp_path).resume(named)
    assert resumed.state and resumed.state.epoch == 2
    assert resumed.unusable == [f"{named} is missing"]


@pytest.mark.parametrize("kept", ["epochs of later rows", "epochs without their best", "nothing"])
def test_training_with_missing_checkpoints_restarts_from_the_beginning(
    state: TrainState, tmp_path: Path, kept: str
) -> None:
    first, second, *_ = saved(state, tmp_path, [2, 3, 1])
    if kept == "epochs without their best":
        remove(*tmp_path.glob("best-*.safetensors"))
    else:
        remove(first, second)
    if kept == "nothing":
        shutil.rmtree(tmp_path)
    resumed = Store(tmp_path).resume(second)
    assert resumed.state is None
    assert all("is missing" in reason for reason in resumed.unusable)
    assert resumed.unusable


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of one training."""
    folders = tmp_path / "attempt-001", tmp_path / "attempt-002"
    for folder in folders:
        folder.mkdir()
    return folders


def test_resuming_in_another_folder_copies_the_best_checkpoint(
    state: TrainState, runs: tuple[Path, Path]
) -> None:
    old, new = runs
    *_, newest = saved(state, old, [1, 2])
    assert resumed_state(Store(new, (old,)), newest).best_epoch == 1
    assert checkpoint.load_checkpoint(Store(new).best).epoch == 1


def test_damaged_first_checkpoint_of_an_attempt_falls_back_to_the_previous_attempt(
    state: TrainState, runs: tuple[Path, Path]
) -> None:
    old, new = runs
    *_, newest = saved(state, old, [1, 2])
    store = Store(new, (old,))
    state = resumed_state(store, newest)
    path = store.save(state, state.finish_epoch(3))
    path.write_bytes(b"")
    assert resumed_state(store, path).epoch == 2


def test_damaged_best_checkpoint_is_reported_before_the_training_ends(
    state: TrainState, tmp_path: Path
) -> None:
    *_, newest = saved(state, tmp_path, [1, 2])
    Store(tmp_path).best.write_bytes(b"")
    with pytest.raises(CheckpointError, match="The best model cannot be loaded"):
        Store(tmp_path).resume(newest)


def test_attempt_with_two_checkpoints_deletes_those_of_earlier_attempts(
    state: TrainState, runs: tuple[Path, Path]
) -> None:
    old, new = runs
    *_, newest = saved(state, old, [1, 2, 3])
    (old / "trainer.log").touch()
    store = Store(new, (old,))
    state = resumed_state(store, newest)
    for epoch in (4, 5):
        assert len(names(old)) == 4
        store.save(state, state.finish_epoch(epoch))
        checkpoint_files.prune_older(new, [old], epoch)
    assert [path.name for path in old.iterdir()] == ["trainer.log"]
    assert names(new) == ["best-000001", "epoch-000004", "epoch-000005"]


def test_unwritable_folder_is_named(state: TrainState, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"epoch 1 cannot be written .* No such file"):
        saved(state, tmp_path / "gone", [1])


def test_best_checkpoint_without_content_falls_back_to_the_previous_best(
    state: TrainState, tmp_path: Path
) -> None:
    """The checksum file exists, but the checkpoint does not yet."""
    *_, newest = saved(state, tmp_path, [2, 1])
    (tmp_path / "best-000003.safetensors.sha256").write_text("0  best-000003.safetensors")
    assert resumed_state(Store(tmp_path), newest).best_epoch == 2
    assert checkpoint.load_checkpoint(Store(tmp_path).best).epoch == 2


def test_partial_files_are_removed(state: TrainState, tmp_path: Path) -> None:
    saved(state, tmp_path, [1])
    assert not list(tmp_path.glob("*.part"))


def test_file_is_readable_by_the_safetensors_library(state: TrainState, tmp_path: Path) -> None:
    (path,) = saved(state, tmp_path, [1])
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["heimdall"])["epoch"] == 1
        weights = file.get_tensor("numbers")
    networks = (state.model, state.predictor)
    there = [weight.flatten() for network in networks for weight in network.parameters()]
    assert torch.equal(weights, torch.cat(there).detach())


def test_checkpoint_of_another_format_or_kind_is_rejected_with_the_reason(
    state: TrainState, tmp_path: Path
) -> None:
    (path,) = saved(state, tmp_path, [1])
    anybodys = safetensors.torch.save({"numbers": torch.zeros(3)})
    for content, message in (
        (
            safetensors_file.pack_vector("numbers", b"", {"format": 3}),
            "has format 3, this version reads 4 and 5",
        ),
        (anybodys, "is not a checkpoint: it is not a safetensors file of Heimdall"),
        (b"PK", "is not a checkpoint"),
    ):
        checkpoint_files.write_with_checksum(path, content)
        with pytest.raises(CheckpointError, match=message):
            checkpoint.load_checkpoint(path)
