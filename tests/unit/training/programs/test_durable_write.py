"""Files that are written under a temporary name first."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.programs.durable_write import is_temporary, temporary_path


def test_two_threads_write_a_file_under_different_names(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    first, second = temporary_path(path), temporary_path(path)
    assert first != second
    assert first.parent == second.parent == tmp_path
    assert is_temporary(first) and is_temporary(second)


@pytest.mark.parametrize("name", ["x" * 255, "\N{GRINNING FACE}" * 60])
def test_temporary_name_of_any_file_fits_into_the_file_system(tmp_path: Path, name: str) -> None:
    path = temporary_path(tmp_path / name)
    path.touch()
    assert is_temporary(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("model.safetensors.9.part", True), (".plot.png.4711.part", True), ("engine.part", False),
     ("a.part.txt", False)],
)  # fmt: skip
def test_only_files_that_were_being_written_are_temporary(name: str, expected: bool) -> None:
    assert is_temporary(Path(name)) is expected
