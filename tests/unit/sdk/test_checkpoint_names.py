"""The names of checkpoint files, by which the SDK and the worker find them."""

from __future__ import annotations

from pathlib import Path

from heimdall_sdk.checkpoint_names import newest_first


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_steps_of_seven_digits_are_newer_than_those_of_six(tmp_path: Path) -> None:
    """A script that counts steps uses their number for that of the epoch."""
    touch(tmp_path / "attempt-001", "epoch-999900.safetensors", "epoch-1000000.safetensors")
    found = newest_first([tmp_path / "attempt-001"], "epoch")
    assert [path.stem for path in found] == ["epoch-1000000", "epoch-999900"]


def test_thousandth_attempt_at_one_epoch_is_the_newest(tmp_path: Path) -> None:
    folders = [tmp_path / "attempt-999", tmp_path / "attempt-1000"]
    for folder in folders:
        touch(folder, "epoch-000005.safetensors")
    found = newest_first(folders, "epoch")
    assert [path.parent.name for path in found] == ["attempt-1000", "attempt-999"]


def test_similarly_named_files_of_the_script_are_left_alone(tmp_path: Path) -> None:
    touch(tmp_path, "best-model.safetensors", "epoch-last.safetensors", "epoch-000001.safetensors")
    assert [path.stem for path in newest_first([tmp_path], "epoch")] == ["epoch-000001"]
    assert newest_first([tmp_path], "best") == []
