from __future__ import annotations

from pathlib import Path

import pytest

from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset
from training.localization.synthetic.generate import generate_dataset
from training.localization.synthetic.resumable import generate_resumable, partial_path

CONFIG = GenerateConfig(samples=1000, seed=4)


class Stop(Exception):
    pass


def stopped_after(samples: int, output: Path) -> None:
    def told(current: int, total: int, message: str) -> None:
        if current >= samples:
            raise Stop

    with pytest.raises(Stop):
        generate_resumable(CONFIG, output, told)


def test_what_grew_in_two_goes_is_what_is_made_in_one(tmp_path: Path) -> None:
    output, told = tmp_path / "made", []
    stopped_after(512, output)
    generate_resumable(CONFIG, output, lambda current, total, message: told.append(current))
    assert told == [768, 1000]
    assert Dataset.load(output).content_hash == generate_dataset(CONFIG).content_hash
    assert [one.name for one in tmp_path.iterdir()] == ["made"]


def test_a_block_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    output = tmp_path / "made"
    stopped_after(512, output)
    part = partial_path(CONFIG, output)
    part.write_bytes(part.read_bytes()[:-10])
    assert (
        generate_resumable(CONFIG, output, lambda *_: None).content_hash
        == generate_dataset(CONFIG).content_hash
    )


def test_another_config_starts_anew(tmp_path: Path) -> None:
    output, other = tmp_path / "made", GenerateConfig(samples=1000, seed=5)
    stopped_after(512, output)
    assert (
        generate_resumable(other, output, lambda *_: None).content_hash
        == generate_dataset(other).content_hash
    )
