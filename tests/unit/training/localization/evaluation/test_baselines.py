from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.localization.data.dataset import Dataset
from training.localization.evaluation import baselines


def test_weighted_centroid_of_high_degree_is_the_strongest_receiver(arrays: Dataset) -> None:
    rows = np.arange(len(arrays))
    strongest = arrays.rx[rows, np.nanargmax(arrays.rssi, axis=1), :2]
    estimate = baselines.weighted_centroid(arrays, rows, degree=50)
    assert np.median(np.abs(estimate - strongest)) < 1000


def test_nearest_neighbor_of_a_training_sample_is_itself() -> None:
    signals, places = np.eye(5) * 7, np.arange(10.0).reshape(5, 2)
    assert np.array_equal(baselines.nearest_neighbors(signals, places, signals, 1), places)


def test_more_neighbors_than_samples_average_all_samples() -> None:
    places = np.arange(10.0).reshape(5, 2)
    found = baselines.nearest_neighbors(np.eye(5), places, np.zeros((1, 5)), 21)
    assert found == pytest.approx(np.array([[4.0, 5.0]]))


def test_maximum_likelihood_is_the_best_baseline_with_arrival_times(arrays: Dataset) -> None:
    found = baselines.evaluate_baselines(arrays)
    rmse = {name: np.sqrt((errors**2).mean()) for name, errors in found.items()}
    assert list(rmse) == sorted(rmse, key=lambda name: -rmse[name])
    assert list(rmse)[-1] == "maximum_likelihood"


def test_centroid_is_the_mean_of_the_receivers_that_heard_the_sample(arrays: Dataset) -> None:
    estimate = baselines.centroid(arrays, np.arange(10))
    for row in range(10):
        heard = arrays.rx[row, arrays.heard[row], :2].astype(float)
        assert estimate[row] == pytest.approx(heard.mean(axis=0), rel=1e-5)


def test_centroid_without_receiver_positions_is_the_mean_of_the_training_split(
    arrays: Dataset,
) -> None:
    unknown = replace(arrays, rx=np.full_like(arrays.rx, np.nan))
    estimate = baselines.centroid(unknown, np.arange(3))
    mean = arrays.target[arrays.rows("train")].mean(axis=0)
    assert estimate == pytest.approx(np.tile(mean, (3, 1)), rel=1e-4)


def test_weighted_centroid_without_strengths_is_the_centroid(arrays: Dataset) -> None:
    none = np.full_like(arrays.rssi, np.nan)
    timed_only = replace(arrays, rssi=none, snr=none)
    rows = np.arange(20)
    estimate = baselines.weighted_centroid(timed_only, rows, degree=2)
    assert estimate == pytest.approx(baselines.centroid(timed_only, rows))


def test_weighting_by_distance_moves_the_estimate_to_the_more_similar_sample() -> None:
    signals, positions = np.array([[0.0], [10.0]]), np.array([[0.0, 0.0], [100.0, 0.0]])
    query = np.array([[2.0]])
    plain = baselines.nearest_neighbors(signals, positions, query, 2)
    weighted = baselines.nearest_neighbors(signals, positions, query, 2, weight_by_distance=True)
    assert plain == pytest.approx(np.array([[50.0, 0.0]]))
    assert weighted == pytest.approx(np.array([[20.0, 0.0]]))


def test_nearest_neighbors_of_no_samples_give_no_positions() -> None:
    found = baselines.nearest_neighbors(np.eye(5), np.zeros((5, 2)), np.empty((0, 5)), 3)
    assert found.shape == (0, 2)


def test_raw_signal_strengths_are_compared_only_without_arrival_times(arrays: Dataset) -> None:
    assert len(baselines.fingerprints(arrays)) == 1
    untimed = replace(arrays, toa=np.full_like(arrays.toa, np.nan))
    standardized, raw = baselines.fingerprints(untimed)
    assert np.isfinite(standardized).all()
    assert raw.min() == pytest.approx(np.nanmin(arrays.rssi) - 5)


def test_maximum_likelihood_is_omitted_without_receiver_positions(arrays: Dataset) -> None:
    unknown = replace(arrays, rx=np.full_like(arrays.rx, np.nan))
    assert set(baselines.evaluate_baselines(unknown)) == {
        "centroid", "weighted_centroid", "nearest_neighbours",
    }  # fmt: skip
