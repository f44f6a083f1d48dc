from __future__ import annotations

import numpy as np
import pytest

from training.localization.data.dataset import Dataset
from training.localization.evaluation import baselines


def test_the_weighted_centroid_leans_to_the_loudest_receiver(arrays: Dataset) -> None:
    rows = np.arange(len(arrays))
    loudest = arrays.rx[rows, np.nanargmax(arrays.rssi, axis=1), :2]
    sharp = baselines.weighted_centroid(arrays, rows, degree=50)
    assert np.median(np.abs(sharp - loudest)) < 1000


def test_one_nearest_neighbour_of_itself_is_itself() -> None:
    signals, places = np.eye(5) * 7, np.arange(10.0).reshape(5, 2)
    assert np.array_equal(baselines.nearest_neighbors(signals, places, signals, 1), places)


def test_more_neighbours_than_samples_are_all_samples() -> None:
    places = np.arange(10.0).reshape(5, 2)
    found = baselines.nearest_neighbors(np.eye(5), places, np.zeros((1, 5)), 21)
    assert found == pytest.approx(np.array([[4.0, 5.0]]))


def test_each_baseline_is_measured_in_metres(arrays: Dataset) -> None:
    found = baselines.evaluate_baselines(arrays)
    rmse = {name: np.sqrt((errors**2).mean()) for name, errors in found.items()}
    assert list(rmse) == sorted(rmse, key=lambda name: -rmse[name])
    assert list(rmse)[-1] == "maximum_likelihood"
