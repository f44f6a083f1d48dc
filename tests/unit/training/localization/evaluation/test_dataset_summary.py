from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training.localization.data.dataset import Dataset, Receiver
from training.localization.data.splits import AT_RANDOM, BY_PLACE
from training.localization.evaluation import dataset_summary
from training.localization.evaluation.cramer_rao import position_error_bound


def test_counts_add_up(arrays: Dataset) -> None:
    summary = dataset_summary.summarize(arrays)
    assert summary["samples"] == len(arrays) == sum(summary["split"].values())
    assert sum(row["samples"] for row in summary["heard_by"]) == len(arrays)
    counts = arrays.heard.sum(axis=1)
    assert summary["heard_per_sample"] == {
        "min": counts.min(),
        "median": np.median(counts),
        "max": counts.max(),
    }
    assert json.loads(json.dumps(summary)) == summary


def test_detection_rate_of_each_receiver_is_computed(arrays: Dataset) -> None:
    summary = dataset_summary.summarize(arrays)
    assert [receiver["id"] for receiver in summary["receivers"]] == [
        receiver.id for receiver in arrays.receivers
    ]
    rates = [receiver["heard_share"] for receiver in summary["receivers"]]
    assert rates == pytest.approx(arrays.heard.mean(axis=0), abs=5e-5)


def test_receiver_that_moves_has_no_position(arrays: Dataset) -> None:
    mobile = replace(arrays, receivers=(Receiver("bus"), *arrays.receivers[1:]))
    assert dataset_summary.summarize(mobile)["receivers"][0]["lat"] is None


def test_split_is_described_and_only_a_leaking_one_is_marked(arrays: Dataset) -> None:
    summary = dataset_summary.summarize(arrays)
    assert (summary["split_by"], summary["leaks"]) == (
        "random; samples are independent, so nothing leaks",
        False,
    )
    by_place = dataset_summary.summarize(replace(arrays, split_by=BY_PLACE))
    assert (by_place["split_by"], by_place["leaks"]) == ("by place, in whole grid squares", False)
    assert dataset_summary.summarize(replace(arrays, split_by=AT_RANDOM))["leaks"]


def test_signals_without_a_reading_are_not_listed(arrays: Dataset) -> None:
    assert dataset_summary.summarize(arrays)["signals"] == ["rssi", "snr", "toa"]
    silent = replace(arrays, toa=np.full_like(arrays.toa, np.nan))
    assert dataset_summary.summarize(silent)["signals"] == ["rssi", "snr"]


def test_area_is_the_extent_of_the_transmitters(arrays: Dataset) -> None:
    extent = np.ptp(arrays.target.astype(float), axis=0) / 1000
    assert dataset_summary.summarize(arrays)["area_km"] == pytest.approx(extent, abs=1e-3)


def test_map_is_limited_and_covers_first_and_last_sample(
    arrays: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(dataset_summary.summarize(arrays)["map"]) == len(arrays)
    monkeypatch.setattr(dataset_summary, "_MAX_MAP_SAMPLES", 10)
    points = dataset_summary.summarize(arrays)["map"]
    assert len(points) == 10
    lat, lon = arrays.frame.to_geodetic(arrays.target[[0, -1]])
    for point, index in ((points[0], 0), (points[-1], 1)):
        assert (point["lat"], point["lon"]) == pytest.approx((lat[index], lon[index]), abs=1e-6)


def test_error_bound_is_the_median_over_the_test_split(arrays: Dataset) -> None:
    bound = position_error_bound(arrays, arrays.rows("test"))
    assert bound is not None
    assert dataset_summary.summarize(arrays)["floor_m"] == pytest.approx(np.median(bound), abs=0.1)


def test_error_bound_of_measured_data_is_unknown(arrays: Dataset) -> None:
    assert dataset_summary.summarize(replace(arrays, physics=None))["floor_m"] is None
