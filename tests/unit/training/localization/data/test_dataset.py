from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset, DatasetFileError, Receiver
from training.localization.synthetic.generate import generate_dataset


def test_saved_dataset_loads_equal(arrays: Dataset, tmp_path: Path) -> None:
    arrays.save(tmp_path / "d")
    loaded = Dataset.load(tmp_path / "d")
    assert loaded.content_hash == arrays.content_hash
    assert (loaded.receivers, loaded.frame) == (arrays.receivers, arrays.frame)
    assert (loaded.physics, loaded.split_by) == (arrays.physics, arrays.split_by)
    for name in ("target", "rssi", "snr", "toa", "rx", "in_service", "split", "group"):
        assert np.array_equal(getattr(loaded, name), getattr(arrays, name), equal_nan=True), name


def test_positions_of_mobile_receivers_and_sample_ids_survive_the_file(
    arrays: Dataset, tmp_path: Path
) -> None:
    rx = arrays.rx.copy()
    rx[:, 3] += np.arange(len(arrays), dtype=np.float32)[:, None]
    ids = tuple(f"s{index}" for index in range(len(arrays)))
    moving = replace(arrays, rx=rx, sample_ids=ids)
    moving.save(tmp_path / "d")
    loaded = Dataset.load(tmp_path / "d")
    assert np.array_equal(loaded.rx, rx)
    assert loaded.sample_ids == ids


def test_fixed_receiver_positions_are_stored_once(arrays: Dataset, tmp_path: Path) -> None:
    arrays.save(tmp_path / "fixed")
    rx = arrays.rx.copy()
    rx[0, 0, 0] += 1
    replace(arrays, rx=rx).save(tmp_path / "mobile")
    difference = (tmp_path / "mobile").stat().st_size - (tmp_path / "fixed").stat().st_size
    assert difference >= 4 * 3 * 7 * (len(arrays) - 1)


def test_content_hash_of_a_generated_dataset_never_changes() -> None:
    """Jobs and checkpoints refer to datasets by this hash."""
    made = generate_dataset(GenerateConfig(samples=400, seed=3))
    assert made.content_hash.startswith("12cb36d8399628ae")


@pytest.mark.parametrize("name", ["target", "rssi", "snr", "toa", "rx"])
def test_content_hash_depends_on_every_array(arrays: Dataset, name: str) -> None:
    changed = getattr(arrays, name).copy()
    changed[0, 0] = 1.25
    assert replace(arrays, **{name: changed}).content_hash != arrays.content_hash


@pytest.mark.parametrize(
    "change", [{"kind": "measured"}, {"split_by": "by hand"}, {"physics": None}], ids=str
)
def test_content_hash_depends_on_the_header(arrays: Dataset, change: dict[str, Any]) -> None:
    assert replace(arrays, **change).content_hash != arrays.content_hash


def test_flipped_bit_is_detected(arrays: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "d"
    arrays.save(path)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetFileError, match="is damaged"):
        Dataset.load(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetFileError, match="nothing does not exist"):
        Dataset.load(tmp_path / "nothing")


def test_file_of_another_format_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"not this")
    with pytest.raises(DatasetFileError, match="is not a Heimdall dataset"):
        Dataset.load(tmp_path / "d")


def test_save_leaves_no_temporary_file(arrays: Dataset, tmp_path: Path) -> None:
    arrays.save(tmp_path / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_failed_save_keeps_the_previous_file(
    arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    arrays.save(tmp_path / "d")
    before = (tmp_path / "d").read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        replace(arrays, kind="measured").save(tmp_path / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    assert (tmp_path / "d").read_bytes() == before


def test_receiver_with_any_of_the_three_signals_counts_as_heard(arrays: Dataset) -> None:
    none = np.full_like(arrays.rssi, np.nan)
    toa = none.copy()
    toa[0, 0] = 0.0
    heard = replace(arrays, rssi=none, snr=none, toa=toa).heard
    assert heard[0, 0]
    assert heard.sum() == 1


def test_splits_are_disjoint_and_complete(arrays: Dataset) -> None:
    rows = np.concatenate([arrays.rows("train"), arrays.rows("val"), arrays.rows("test")])
    assert np.array_equal(np.sort(rows), np.arange(len(arrays)))


def test_receiver_without_latitude_is_not_fixed() -> None:
    assert not Receiver("bus").fixed
    assert Receiver("hill", 45.0, 7.5).fixed
