"""Detection of a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from training.workers.disk_space import MIN_FREE_BYTES, has_disk_space, is_disk_full


@pytest.mark.parametrize(("free", "expected"), [(MIN_FREE_BYTES, True), (4096, False)])
def test_space_of_a_folder_that_does_not_exist_yet_is_that_of_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, expected: bool
) -> None:
    asked = []

    class Usage:
        def __init__(self, folder: Path) -> None:
            asked.append(folder)
            self.free = free

    monkeypatch.setattr("training.workers.disk_space.shutil.disk_usage", Usage)
    assert has_disk_space(tmp_path / "jobs" / "one") is expected
    assert asked == [tmp_path]


def test_error_of_a_full_disk_is_recognized() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.pt")
    assert is_disk_full(f"The checkpoint cannot be written: {error}.")
    assert not is_disk_full(f"{OSError(errno.EACCES, os.strerror(errno.EACCES))}")
