"""Checkpoints as files, which the worker prunes."""

from __future__ import annotations

from pathlib import Path

from training.programs import checkpoint_files


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_pruning_keeps_files_of_the_script(tmp_path: Path) -> None:
    touch(tmp_path, "best-model.safetensors", "epoch-last.safetensors")
    touch(tmp_path, *(f"epoch-{epoch:06d}.safetensors" for epoch in range(1, 5)))
    checkpoint_files.prune_older(tmp_path, [], 4)
    assert sorted(path.stem for path in tmp_path.iterdir()) == [
        "best-model", "epoch-000003", "epoch-000004", "epoch-last",
    ]  # fmt: skip
