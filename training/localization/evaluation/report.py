"""Test errors in the form that pages show: CDF, groups, largest errors, map points."""

from __future__ import annotations

from itertools import pairwise
from typing import TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.evaluation import cramer_rao
from training.localization.evaluation.types import (
    ErrorCdf,
    GdopErrors,
    LargestError,
    ReceiverCountErrors,
    SamplePredictions,
)
from training.localization.geometry import Floats
from training.localization.metrics import Predictions

_PROBABILITIES = np.linspace(0, 1, 51)
_GDOP_EDGES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, np.inf)
_MAX_LARGEST_ERRORS = 10
_MAX_POINTS = 400
Rows = NDArray[np.intp]


def error_cdf(errors: Floats, baselines: dict[str, Floats]) -> ErrorCdf:
    return {
        "share": [round(float(probability), 2) for probability in _PROBABILITIES],
        "model": np.quantile(errors, _PROBABILITIES).tolist(),
        "baselines": {
            name: np.quantile(values, _PROBABILITIES).tolist() for name, values in baselines.items()
        },
    }


def errors_by_receiver_count(
    dataset: Dataset, rows: Rows, errors: Floats
) -> list[ReceiverCountErrors]:
    counts = dataset.heard[rows].sum(axis=1)
    return [
        {"receivers": int(count), **_summarize(errors[counts == count])}
        for count in np.unique(counts)
    ]


def errors_by_gdop(dataset: Dataset, rows: Rows, errors: Floats) -> list[GdopErrors]:
    """Errors grouped by dilution of precision; empty if it is undefined for all samples.

    It is undefined with fewer than three receivers of known position, which counts as infinite.
    """
    used = dataset.heard[rows] & ~np.isnan(dataset.rx[rows, :, 0])
    dilution = cramer_rao.dilution_of_precision(
        dataset.target[rows].astype(float), dataset.rx[rows], used
    )
    if not np.isfinite(dilution).any():
        return []
    groups: list[GdopErrors] = []
    for low, high in pairwise(_GDOP_EDGES):
        inside = (dilution >= low) & ((dilution < high) | np.isinf(high))
        if inside.any():
            upper = None if np.isinf(high) else high
            groups.append({"from": low, "to": upper, **_summarize(errors[inside])})
    return groups


def largest_errors(
    dataset: Dataset, rows: Rows, predicted: Predictions, errors: Floats
) -> list[LargestError]:
    chosen = np.argsort(-errors)[:_MAX_LARGEST_ERRORS]
    lat, lon = dataset.frame.to_geodetic(dataset.target[rows[chosen]])
    predicted_lat, predicted_lon = dataset.frame.to_geodetic(predicted.mean[chosen])
    names = dataset.sample_ids or range(len(dataset))
    return [
        {
            "sample": str(names[rows[row]]),
            "lat": float(lat[index]),
            "lon": float(lon[index]),
            "predicted_lat": float(predicted_lat[index]),
            "predicted_lon": float(predicted_lon[index]),
            "error_m": float(errors[row]),
        }
        for index, row in enumerate(chosen)
    ]


def sample_predictions(dataset: Dataset, rows: Rows, predicted: Predictions) -> SamplePredictions:
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:_MAX_POINTS])
    covariance = predicted.covariance[chosen]
    triangle = np.stack([covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]], axis=1)
    receivers = [
        (dataset.frame.to_local(receiver.lat, receiver.lon), receiver.id)
        for receiver in dataset.receivers
        if receiver.lat is not None and receiver.lon is not None
    ]
    return {
        "target": _round_rows(dataset.target[rows[chosen]]),
        "mean": _round_rows(predicted.mean[chosen]),
        "covariance": _round_rows(triangle),
        "receivers": [[*_round_rows(position[None])[0], name] for position, name in receivers],
        "frame": {"lat0": dataset.frame.lat0, "lon0": dataset.frame.lon0},
    }


class _Summary(TypedDict):
    samples: int
    rmse_m: float
    median_m: float


def _summarize(errors: Floats) -> _Summary:
    return {
        "samples": len(errors),
        "rmse_m": float(np.sqrt(np.mean(errors**2))),
        "median_m": float(np.median(errors)),
    }


def _round_rows(values: Floats) -> list[list[float]]:
    # [n, k] rounded to centimeters, which keeps pages small.
    return cast(list[list[float]], np.round(np.asarray(values, float), 2).tolist())
