"""The test errors as pages draw them: curves, groups, worst cases, points. All in JSON types."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.evaluation import cramer_rao
from training.localization.geometry import Floats
from training.localization.metrics import Predictions

_SHARES = np.linspace(0, 1, 51)
_GDOP_EDGES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, np.inf)
_WORST = 10
_POINTS = 400
Rows = NDArray[np.intp]


def cdf(errors: Floats, baselines: dict[str, Floats]) -> dict[str, Any]:
    """The error that each share of the samples stays below, in metres."""
    return {
        "share": [round(float(share), 2) for share in _SHARES],
        "model": np.quantile(errors, _SHARES).tolist(),
        "baselines": {name: np.quantile(one, _SHARES).tolist() for name, one in baselines.items()},
    }


def by_receivers(dataset: Dataset, rows: Rows, errors: Floats) -> list[dict[str, Any]]:
    """By how many receivers heard it."""
    counts = dataset.heard[rows].sum(axis=1)
    return [
        {"receivers": int(count), **_errors(errors[counts == count])} for count in np.unique(counts)
    ]


def by_gdop(dataset: Dataset, rows: Rows, errors: Floats) -> list[dict[str, Any]]:
    """By the dilution of precision of those that heard it; nothing where it is unknown for all.

    Where it is undefined, with fewer than three receivers of known place, it counts as infinite.
    """
    used = dataset.heard[rows] & ~np.isnan(dataset.rx[rows, :, 0])
    dilution = cramer_rao.dilution_of_precision(
        dataset.target[rows].astype(float), dataset.rx[rows], used
    )
    if not np.isfinite(dilution).any():
        return []
    found = []
    for low, high in pairwise(_GDOP_EDGES):
        inside = (dilution >= low) & ((dilution < high) | np.isinf(high))
        if inside.any():
            upper = None if np.isinf(high) else high
            found.append({"from": low, "to": upper, **_errors(errors[inside])})
    return found


def worst(
    dataset: Dataset, rows: Rows, predicted: Predictions, errors: Floats
) -> list[dict[str, Any]]:
    """The largest errors, the largest first."""
    chosen = np.argsort(-errors)[:_WORST]
    lat, lon = dataset.frame.to_geodetic(dataset.target[rows[chosen]])
    predicted_lat, predicted_lon = dataset.frame.to_geodetic(predicted.mean[chosen])
    names = dataset.sample_ids or range(len(dataset))
    return [
        {
            "sample": str(names[rows[one]]),
            "lat": float(lat[index]),
            "lon": float(lon[index]),
            "predicted_lat": float(predicted_lat[index]),
            "predicted_lon": float(predicted_lon[index]),
            "error_m": float(errors[one]),
        }
        for index, one in enumerate(chosen)
    ]


def points(dataset: Dataset, rows: Rows, predicted: Predictions) -> dict[str, Any]:
    """Some test samples: where they were, where they were said to be, and how surely."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:_POINTS])
    covariance = predicted.covariance[chosen]
    triangle = np.stack([covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]], axis=1)
    places = [
        (dataset.frame.to_local(one.lat, one.lon), one.id)
        for one in dataset.receivers
        if one.lat is not None and one.lon is not None
    ]
    return {
        "target": _metres(dataset.target[rows[chosen]]),
        "mean": _metres(predicted.mean[chosen]),
        "covariance": _metres(triangle),
        "receivers": [[*_metres(place), name] for place, name in places],
        "frame": {"lat0": dataset.frame.lat0, "lon0": dataset.frame.lon0},
    }


def _errors(errors: Floats) -> dict[str, Any]:
    return {
        "samples": len(errors),
        "rmse_m": float(np.sqrt(np.mean(errors**2))),
        "median_m": float(np.median(errors)),
    }


def _metres(values: Floats) -> Any:
    """Rounded to centimetres: nobody sees more, and the page is lighter."""
    return np.round(np.asarray(values, float), 2).tolist()
