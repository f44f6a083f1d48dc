from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.localization.data.dataset import Dataset, DatasetFileError
from training.localization.data.splits import INDEPENDENT, describe_split
from training.localization.evaluation import dataset_summary


def test_what_was_saved_is_loaded(arrays: Dataset, tmp_path: Path) -> None:
    arrays.save(tmp_path / "d")
    loaded = Dataset.load(tmp_path / "d")
    assert loaded.content_hash == arrays.content_hash
    assert dataset_summary.summarize(loaded) == dataset_summary.summarize(arrays)
    assert np.array_equal(loaded.rssi, arrays.rssi, equal_nan=True)
    assert np.array_equal(loaded.rx, arrays.rx)


def test_a_flipped_bit_is_noticed(arrays: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "d"
    arrays.save(path)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetFileError, match="is damaged"):
        Dataset.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetFileError, match="does not exist"):
        Dataset.load(tmp_path / "nothing")


def test_another_file_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"not this")
    with pytest.raises(DatasetFileError, match="is not a Heimdall dataset"):
        Dataset.load(tmp_path / "d")


def test_nothing_half_written_stays(arrays: Dataset, tmp_path: Path) -> None:
    arrays.save(tmp_path / "d")
    assert [one.name for one in tmp_path.iterdir()] == ["d"]


def test_the_facts_tell_who_hears_how_the_split_was_made_and_the_floor(arrays: Dataset) -> None:
    found = dataset_summary.summarize(arrays)
    assert sum(one["samples"] for one in found["heard_by"]) == len(arrays)
    assert (found["split_by"], found["leaks"]) == (describe_split(INDEPENDENT), False)
    assert len(found["map"]) == len(arrays)
    assert 200 < found["floor_m"] < 1000
