"""What classical methods reach on the same data: the yardstick beside the network."""

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

_NEIGHBOURS = (1, 2, 3, 5, 8, 13, 21, 34)
_DEGREES = (0.5, 1.0, 2.0, 4.0)
_BELOW_WEAKEST_DB = 5.0
_CHUNK = 512
_MOST_KNOWN = 50_000  # samples that neighbours are looked for among
Rows = NDArray[np.intp]
Estimate = Callable[[Rows], Floats]


def evaluate_baselines(dataset: Dataset) -> dict[str, Floats]:
    """[n] errors in metres of each baseline on the test split; what they have to choose, on val."""
    test = dataset.rows("test")
    found = {
        "centroid": centroid(dataset, test),
        "weighted_centroid": _best(dataset, [_weighted(dataset, one) for one in _DEGREES], test),
        "nearest_neighbours": _best(dataset, list(_neighbourhoods(dataset)), test),
        "maximum_likelihood": maximum_likelihood.maximise(dataset, test),
    }
    return {
        name: position_errors(mean, dataset.target[test])
        for name, mean in found.items()
        if mean is not None
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


def nearest_neighbours(
    known: Floats, places: Floats, asked: Floats, k: int, by_distance: bool = False
) -> Floats:
    """[n, 2]: mean place of the k training samples whose signals [N, S] are most alike.

    Bahl and Padmanabhan 2000, RADAR: an in-building RF-based user location and tracking system.
    `by_distance`: the more alike, the more its place counts.
    """
    k = min(k, len(known))
    own = (known**2).sum(axis=1)
    found = [np.empty((0, 2))]
    for start in range(0, len(asked), _CHUNK):
        part = asked[start : start + _CHUNK]
        squared = own - 2 * part @ known.T
        nearest = np.argpartition(squared, k - 1, axis=1)[:, :k]
        apart = np.take_along_axis(squared, nearest, 1) + (part**2).sum(axis=1, keepdims=True)
        weight = 1 / np.sqrt(np.maximum(apart, 1e-9)) if by_distance else np.ones_like(apart)
        weighted = np.einsum("nk,nki->ni", weight, places[nearest])
        found.append(weighted / weight.sum(axis=1, keepdims=True))
    return np.concatenate(found)


def fingerprints(dataset: Dataset) -> list[Floats]:
    """[N, S] signals to compare: what is usual for each receiver taken off, and as they were read.

    A silent receiver reads as its own weakest, or as a little less than anybody's.
    """
    normalizer = Normalizer.fit(dataset, dataset.rows("train"))
    toa = np.nan_to_num(subtract_emission_time(dataset.toa) / normalizer.toa_ns)
    rssi, snr = normalizer.rssi.standardize(dataset.rssi), normalizer.snr.standardize(dataset.snr)
    usual = np.hstack([dataset.heard, rssi, snr, toa])
    strength = np.where(np.isnan(dataset.rssi), dataset.snr, dataset.rssi).astype(float)
    if np.isnan(strength).all():
        return [usual]
    floor = np.nanmin(strength) - _BELOW_WEAKEST_DB
    as_read = np.where(np.isnan(strength), floor, strength)
    timed = bool(np.any(toa))
    return [usual] if timed else [usual, as_read]


def _neighbourhoods(dataset: Dataset) -> Iterator[Estimate]:
    train = dataset.rows("train")
    if len(train) > _MOST_KNOWN:
        train = np.random.default_rng(0).choice(train, _MOST_KNOWN, replace=False)
    places = dataset.target[train].astype(float)

    def estimate(signals: Floats, k: int, by_distance: bool) -> Estimate:
        return lambda rows: nearest_neighbours(
            signals[train], places, signals[rows], k, by_distance
        )

    for signals in fingerprints(dataset):
        for k in _NEIGHBOURS:
            yield estimate(signals, k, by_distance=False)
            if k > 1:
                yield estimate(signals, k, by_distance=True)


def _weighted(dataset: Dataset, degree: float) -> Estimate:
    return lambda rows: weighted_centroid(dataset, rows, degree)


def _best(dataset: Dataset, variants: list[Estimate], test: Rows) -> Floats:
    """What the variant that does best on the validation split says of the test split."""
    val = dataset.rows("val")
    if len(val) > 4 * _CHUNK:
        val = np.random.default_rng(0).choice(val, 4 * _CHUNK, replace=False)
    scores = [position_errors(one(val), dataset.target[val]).mean() for one in variants]
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
