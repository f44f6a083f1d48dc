from __future__ import annotations

from pathlib import Path

import pytest

from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset
from training.localization.synthetic.generate import generate_dataset
from training.localization.synthetic.resumable import generate_resumable, partial_path

CONFIG = GenerateConfig(samples=1000, seed=4)


class StoppedError(Exception):
    pass


def generate_until(samples: int, output: Path) -> None:
    def stop(current: int, total: int, message: str) -> None:
        if current >= samples:
            raise StoppedError

    with pytest.raises(StoppedError):
        generate_resumable(CONFIG, output, stop)


def test_resumed_generation_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    output, reported = tmp_path / "made", []
    generate_until(512, output)
    generate_resumable(CONFIG, output, lambda current, total, message: reported.append(current))
    assert reported == [768, 1000]
    assert Dataset.load(output).content_hash == generate_dataset(CONFIG).content_hash
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_truncated_block_is_generated_again(tmp_path: Path) -> None:
    output = tmp_path / "made"
    generate_until(512, output)
    partial = partial_path(CONFIG, output)
    partial.write_bytes(partial.read_bytes()[:-10])
    assert (
        generate_resumable(CONFIG, output, lambda *_: None).content_hash
        == generate_dataset(CONFIG).content_hash
    )


def test_another_config_does_not_resume_from_the_file_of_the_first(tmp_path: Path) -> None:
    output, other = tmp_path / "made", GenerateConfig(samples=1000, seed=5)
    generate_until(512, output)
    assert (
        generate_resumable(other, output, lambda *_: None).content_hash
        == generate_dataset(other).content_hash
    )


def test_partial_file_with_too_many_samples_is_discarded(tmp_path: Path) -> None:
    output = tmp_path / "made"
    partial_path(CONFIG, output).write_bytes(b"\xff" * 4 * 23 * 2048)
    made = generate_resumable(CONFIG, output, lambda *_: None)
    assert made.content_hash == generate_dataset(CONFIG).content_hash


def test_samples_are_on_disk_when_progress_is_reported(tmp_path: Path) -> None:
    output, sizes = tmp_path / "made", []

    def measure(current: int, total: int, message: str) -> None:
        sizes.append(partial_path(CONFIG, output).stat().st_size == current * 4 * 23)

    generate_resumable(CONFIG, output, measure)
    assert sizes and all(sizes)
