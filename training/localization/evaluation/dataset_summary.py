"""Summarize a dataset: size, splits, receivers, area and the error bound."""

from __future__ import annotations

import numpy as np

from training.localization.data.dataset import SIGNALS, SPLITS, Dataset
from training.localization.data.splits import AT_RANDOM, describe_split
from training.localization.evaluation import cramer_rao
from training.localization.evaluation.types import DatasetSummary, MapPoint, ReceiverSummary

_MAX_MAP_SAMPLES = 1000


def summarize(dataset: Dataset) -> DatasetSummary:
    heard = dataset.heard
    counts = heard.sum(axis=1)
    extent = np.ptp(dataset.target.astype(float), axis=0)
    receiver_counts, samples = np.unique(counts, return_counts=True)
    return {
        "samples": len(dataset),
        "kind": dataset.kind,
        "receivers": _receivers(dataset),
        "split": {name: len(dataset.rows(name)) for name in SPLITS},
        "split_by": describe_split(dataset.split_by),
        "leaks": dataset.split_by == AT_RANDOM,
        "heard_per_sample": {
            "min": int(counts.min()),
            "median": float(np.median(counts)),
            "max": int(counts.max()),
        },
        "heard_by": [
            {"receivers": int(count), "samples": int(number)}
            for count, number in zip(receiver_counts, samples, strict=True)
        ],
        "signals": [name for name in SIGNALS if not np.isnan(getattr(dataset, name)).all()],
        "area_km": [round(float(length) / 1000, 3) for length in extent],
        "map": _map_points(dataset),
        "floor_m": _median_bound(dataset),
    }


def _receivers(dataset: Dataset) -> list[ReceiverSummary]:
    return [
        {
            "id": receiver.id,
            "lat": receiver.lat,
            "lon": receiver.lon,
            "alt_m": receiver.alt_m,
            "heard_share": round(float(dataset.heard[:, index].mean()), 4),
        }
        for index, receiver in enumerate(dataset.receivers)
    ]


def _map_points(dataset: Dataset) -> list[MapPoint]:
    count = min(len(dataset), _MAX_MAP_SAMPLES)
    rows = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int))
    lat, lon = dataset.frame.to_geodetic(dataset.target[rows])
    return [
        {"lat": round(float(north), 6), "lon": round(float(east), 6), "split": SPLITS[code]}
        for north, east, code in zip(lat, lon, dataset.split[rows], strict=True)
    ]


def _median_bound(dataset: Dataset) -> float | None:
    bound = cramer_rao.position_error_bound(dataset, dataset.rows("test"))
    if bound is None or not np.isfinite(bound).any():
        return None
    return round(float(np.median(bound[np.isfinite(bound)])), 1)
