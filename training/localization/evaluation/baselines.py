"""Classical positioning methods, for comparison with a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.evaluation import maximum_likelihood
from training.localization.geometry import Floats
from training.localization.localizer.clock_offsets import subtract_emission_time
from training.localization.localizer.normalizer import Normalizer
from training.localization.metrics import position_errors

_NEIGHBOR_COUNTS = (1, 2, 3, 5, 8, 13, 21, 34)
_CENTROID_DEGREES = (0.5, 1.0, 2.0, 4.0)
_BELOW_WEAKEST_DB = 5.0
_CHUNK = 512
_MAX_SELECTION_SAMPLES = 4 * _CHUNK  # of the validation split, to choose a variant
_MAX_FINGERPRINTS = 50_000  # training samples to search for neighbors
Rows = NDArray[np.intp]
Estimator = Callable[[Rows], Floats]


def evaluate_baselines(dataset: Dataset) -> dict[str, Floats]:
    """Errors [n] in meters on the test split; parameters are chosen on the validation split."""
    test = dataset.rows("test")
    estimates = {
        "centroid": centroid(dataset, test),
        "weighted_centroid": _best_estimate(
            dataset, [_weighted_centroid(dataset, degree) for degree in _CENTROID_DEGREES], test
        ),
        "nearest_neighbours": _best_estimate(dataset, list(_neighbor_estimators(dataset)), test),
        "maximum_likelihood": maximum_likelihood.estimate_positions(dataset, test),
    }
    return {
        name: position_errors(mean, dataset.target[test])
        for name, mean in estimates.items()
        if mean is not None
    }


def centroid(dataset: Dataset, rows: Rows) -> Floats:
    """[n, 2]: the mean position of the receivers that heard the sample (Bulusu et al. 2000)."""
    return _mean_receiver_position(dataset, rows, dataset.heard[rows].astype(float))


def weighted_centroid(dataset: Dataset, rows: Rows, degree: float) -> Floats:
    """[n, 2]: the mean position of the receivers, weighted by signal strength.

    Blumenthal et al. 2007, Weighted Centroid Localization in Zigbee-based Sensor Networks: the
    weight is the received amplitude to the power of `degree`. Receivers have equal weights in a
    sample without signal strengths.
    """
    strength = np.where(np.isnan(dataset.rssi), dataset.snr, dataset.rssi)[rows].astype(float)
    no_strength = np.isnan(strength).all(axis=1)
    peak = np.nanmax(np.where(no_strength[:, None], 0.0, strength), axis=1, keepdims=True)
    weight = np.nan_to_num(10 ** (degree * (strength - peak) / 20))
    weight[no_strength] = dataset.heard[rows][no_strength]
    return _mean_receiver_position(dataset, rows, weight)


def nearest_neighbors(
    train_signals: Floats,
    train_positions: Floats,
    signals: Floats,
    k: int,
    weight_by_distance: bool = False,
) -> Floats:
    """[n, 2]: mean position of the k training samples with the most similar signals [N, S].

    Bahl and Padmanabhan 2000, RADAR: an in-building RF-based user location and tracking system.
    `weight_by_distance`: weights are the inverse distance between signals.
    """
    k = min(k, len(train_signals))
    train_norms = (train_signals**2).sum(axis=1)
    estimates = [np.empty((0, 2))]
    for start in range(0, len(signals), _CHUNK):
        chunk = signals[start : start + _CHUNK]
        squared = train_norms - 2 * chunk @ train_signals.T
        nearest = np.argpartition(squared, k - 1, axis=1)[:, :k]
        norms = (chunk**2).sum(axis=1, keepdims=True)
        distance = np.take_along_axis(squared, nearest, 1) + norms
        weight = (
            1 / np.sqrt(np.maximum(distance, 1e-9))
            if weight_by_distance
            else np.ones_like(distance)
        )
        weighted = np.einsum("nk,nki->ni", weight, train_positions[nearest])
        estimates.append(weighted / weight.sum(axis=1, keepdims=True))
    return np.concatenate(estimates)


def fingerprints(dataset: Dataset) -> list[Floats]:
    """Signal vectors [N, S] to compare: standardized for each receiver, and raw strengths.

    An absent reading is the weakest of its receiver, or a little below the weakest of all. Raw
    strengths are left out if there are arrival times.
    """
    normalizer = Normalizer.fit(dataset, dataset.rows("train"))
    toa = np.nan_to_num(subtract_emission_time(dataset.toa) / normalizer.toa_ns)
    rssi, snr = normalizer.rssi.standardize(dataset.rssi), normalizer.snr.standardize(dataset.snr)
    standardized = np.hstack([dataset.heard, rssi, snr, toa])
    strength = np.where(np.isnan(dataset.rssi), dataset.snr, dataset.rssi).astype(float)
    if np.isnan(strength).all() or np.any(toa):
        return [standardized]
    floor = np.nanmin(strength) - _BELOW_WEAKEST_DB
    return [standardized, np.where(np.isnan(strength), floor, strength)]


def _neighbor_estimators(dataset: Dataset) -> Iterator[Estimator]:
    train = dataset.rows("train")
    if len(train) > _MAX_FINGERPRINTS:
        train = np.random.default_rng(0).choice(train, _MAX_FINGERPRINTS, replace=False)
    positions = dataset.target[train].astype(float)

    def estimator(signals: Floats, k: int, weight_by_distance: bool) -> Estimator:
        return lambda rows: nearest_neighbors(
            signals[train], positions, signals[rows], k, weight_by_distance
        )

    for signals in fingerprints(dataset):
        for k in _NEIGHBOR_COUNTS:
            yield estimator(signals, k, weight_by_distance=False)
            if k > 1:
                yield estimator(signals, k, weight_by_distance=True)


def _weighted_centroid(dataset: Dataset, degree: float) -> Estimator:
    return lambda rows: weighted_centroid(dataset, rows, degree)


def _best_estimate(dataset: Dataset, variants: list[Estimator], test: Rows) -> Floats:
    val = dataset.rows("val")
    if len(val) > _MAX_SELECTION_SAMPLES:
        val = np.random.default_rng(0).choice(val, _MAX_SELECTION_SAMPLES, replace=False)
    scores = [position_errors(estimate(val), dataset.target[val]).mean() for estimate in variants]
    return variants[int(np.argmin(scores))](test)


def _mean_receiver_position(dataset: Dataset, rows: Rows, weight: Floats) -> Floats:
    # Without a receiver of known position, the mean position of the training split.
    position = dataset.rx[rows, :, :2].astype(float)
    weight = np.where(np.isnan(position[..., 0]), 0.0, weight)
    total = weight.sum(axis=1)
    weighted = np.einsum("nr,nri->ni", weight, np.nan_to_num(position))
    fallback = dataset.target[dataset.rows("train")].astype(float).mean(axis=0)
    mean = weighted / np.maximum(total, 1e-12)[:, None]
    return np.asarray(np.where((total > 0)[:, None], mean, fallback))
