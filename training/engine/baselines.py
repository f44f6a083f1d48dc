"""What classical methods reach on the same data: the yardstick beside the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.engine.dataset import Dataset
from training.engine.features import FEATURES, Normaliser, encode
from training.engine.geometry import Floats
from training.engine.metrics import error_summary, position_errors

_NEIGHBOURS = (1, 2, 3, 5, 8, 13, 21)
_DEGREES = (0.5, 1.0, 2.0, 4.0)
_SIGNAL = [FEATURES.index(name) for name in ("heard", "rssi", "snr", "toa")]
_CHUNK = 512
Rows = NDArray[np.intp]


def evaluate(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Errors in metres of each baseline on the test split; what they have to choose, on val."""
    test = dataset.rows("test")
    found = {
        "centroid": centroid(dataset, test),
        "weighted_centroid": _best(
            dataset, [_weighted(dataset, degree) for degree in _DEGREES], test
        ),
        "nearest_neighbours": _nearest_neighbours(dataset, test),
    }
    return {
        name: error_summary(position_errors(mean, dataset.target[test]))
        for name, mean in found.items()
    }


def centroid(dataset: Dataset, rows: Rows) -> Floats:
    """[n, 2]: the middle of the receivers that heard it (Bulusu et al. 2000)."""
    return _mean_of_places(dataset, rows, dataset.heard[rows].astype(float))


def weighted_centroid(dataset: Dataset, rows: Rows, degree: float) -> Floats:
    """[n, 2]: the stronger a receiver heard it, the more its place counts.

    Blumenthal et al. 2007, Weighted Centroid Localization in Zigbee-based Sensor Networks: the
    weight is the received amplitude to the power of `degree`. Without any strength all count alike.
    """
    strength = np.where(np.isnan(dataset.rssi), dataset.snr, dataset.rssi)[rows].astype(float)
    nothing = np.isnan(strength).all(axis=1)
    peak = np.nanmax(np.where(nothing[:, None], 0.0, strength), axis=1, keepdims=True)
    weight = np.nan_to_num(10 ** (degree * (strength - peak) / 20))
    weight[nothing] = dataset.heard[rows][nothing]
    return _mean_of_places(dataset, rows, weight)


def nearest_neighbours(known: Floats, places: Floats, asked: Floats, k: int) -> Floats:
    """[n, 2]: mean place of the k training samples whose signals [N, S] are most alike.

    Bahl and Padmanabhan 2000, RADAR: an in-building RF-based user location and tracking system.
    """
    k = min(k, len(known))
    own = (known**2).sum(axis=1)
    found = []
    for start in range(0, len(asked), _CHUNK):
        part = asked[start : start + _CHUNK]
        squared = own - 2 * part @ known.T
        nearest = np.argpartition(squared, k - 1, axis=1)[:, :k]
        found.append(places[nearest].mean(axis=1))
    return np.concatenate(found) if found else np.empty((0, 2))


def _nearest_neighbours(dataset: Dataset, test: Rows) -> Floats:
    train = dataset.rows("train")
    features = encode(dataset, Normaliser.fit(dataset, train)).tokens[..., _SIGNAL]
    signals = features.reshape(len(dataset), -1).astype(float)
    places = dataset.target[train].astype(float)

    def with_k(k: int) -> Callable[[Rows], Floats]:
        return lambda rows: nearest_neighbours(signals[train], places, signals[rows], k)

    return _best(dataset, [with_k(k) for k in _NEIGHBOURS], test)


def _weighted(dataset: Dataset, degree: float) -> Callable[[Rows], Floats]:
    return lambda rows: weighted_centroid(dataset, rows, degree)


def _best(dataset: Dataset, variants: list[Callable[[Rows], Floats]], test: Rows) -> Floats:
    """What the variant that does best on the validation split says of the test split."""
    val = dataset.rows("val")
    scores = [np.mean(position_errors(one(val), dataset.target[val]) ** 2) for one in variants]
    return variants[int(np.argmin(scores))](test)


def _mean_of_places(dataset: Dataset, rows: Rows, weight: Floats) -> Floats:
    """Where no place is known, the middle of the training split."""
    place = dataset.rx[rows, :, :2].astype(float)
    weight = np.where(np.isnan(place[..., 0]), 0.0, weight)
    total = weight.sum(axis=1)
    weighted = np.einsum("nr,nri->ni", weight, np.nan_to_num(place))
    middle = dataset.target[dataset.rows("train")].astype(float).mean(axis=0)
    found = weighted / np.maximum(total, 1e-12)[:, None]
    return np.asarray(np.where((total > 0)[:, None], found, middle))
