from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from training.jobs import directories

JOB = uuid4()


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def checkpoint(attempt: int, epoch: int, kind: str = "epoch") -> Path:
    folder = directories.attempt_directory(JOB, attempt)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{epoch:06d}.safetensors"
    path.write_bytes(b"x")
    path.with_suffix(".safetensors.sha256").write_text("sum")
    return path


def remaining() -> list[str]:
    folder = directories.job_directory(JOB)
    return sorted(f"{path.parent.name[-1]}/{path.stem}" for path in folder.glob("*/*.safetensors"))


def test_earlier_attempts_are_in_order_and_exclude_the_present_one() -> None:
    for attempt in (1, 2, 3, 11):
        checkpoint(attempt, 1)
    found = directories.earlier_attempts(JOB, 11)
    assert [path.name for path in found] == ["attempt-001", "attempt-002", "attempt-003"]
    assert directories.earlier_attempts(uuid4(), 2) == []


def test_attempts_beyond_999_come_after_earlier_ones() -> None:
    for attempt in (2, 999, 1000):
        checkpoint(attempt, 1)
    found = directories.earlier_attempts(JOB, 1000)
    assert [path.name for path in found] == ["attempt-002", "attempt-999"]


def test_pruning_keeps_the_newest_two_the_best_and_later_ones() -> None:
    for epoch in (1, 2, 3, 4, 5):
        checkpoint(1, epoch)
    for epoch in (1, 3, 5):
        checkpoint(1, epoch, "best")
    directories.prune_checkpoints(JOB, 1, 4)
    assert remaining() == [
        "1/best-000003", "1/best-000005", "1/epoch-000003", "1/epoch-000004", "1/epoch-000005",
    ]  # fmt: skip
    sums = directories.attempt_directory(JOB, 1).glob("*.sha256")
    assert len(list(sums)) == 5


def test_earlier_attempts_are_kept_until_this_one_has_two_checkpoints() -> None:
    checkpoint(1, 7)
    checkpoint(1, 5, "best")
    checkpoint(2, 8)
    directories.prune_checkpoints(JOB, 2, 8)
    assert len(remaining()) == 3
    checkpoint(2, 9)
    directories.prune_checkpoints(JOB, 2, 9)
    assert all(name.startswith("2/") for name in remaining())
    assert len(remaining()) == 2


def test_pruning_a_job_without_files_is_harmless() -> None:
    directories.prune_checkpoints(uuid4(), 1, 1)
