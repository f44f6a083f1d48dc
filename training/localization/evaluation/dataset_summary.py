"""What people want to know of a dataset before they train on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from training.localization.data.dataset import SIGNALS, SPLITS, Dataset
from training.localization.data.splits import AT_RANDOM
from training.localization.evaluation import cramer_rao

_MAP_SAMPLES = 1000


def summarize(dataset: Dataset) -> dict[str, Any]:
    """In JSON types. `floor_m`: the median of the Cramér-Rao bound on the test split; None where
    the physics is unknown."""
    heard = dataset.heard
    counts = heard.sum(axis=1)
    sides = np.ptp(dataset.target.astype(float), axis=0)
    how_many, samples = np.unique(counts, return_counts=True)
    return {
        "samples": len(dataset),
        "kind": dataset.kind,
        "receivers": [
            {**asdict(receiver), "heard_share": round(float(heard[:, index].mean()), 4)}
            for index, receiver in enumerate(dataset.receivers)
        ],
        "split": {name: len(dataset.rows(name)) for name in SPLITS},
        "split_by": dataset.split_by,
        "leaks": dataset.split_by == AT_RANDOM,
        "heard_per_sample": {
            "min": int(counts.min()),
            "median": float(np.median(counts)),
            "max": int(counts.max()),
        },
        "heard_by": [
            {"receivers": int(count), "samples": int(number)}
            for count, number in zip(how_many, samples, strict=True)
        ],
        "signals": [name for name in SIGNALS if not np.isnan(getattr(dataset, name)).all()],
        "area_km": [round(float(side) / 1000, 3) for side in sides],
        "map": _map(dataset),
        "floor_m": _floor(dataset),
    }


def _map(dataset: Dataset) -> list[dict[str, Any]]:
    """Some samples, evenly spread over the dataset: where they were sent, and their side."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _MAP_SAMPLES)).astype(int))
    lat, lon = dataset.frame.to_geodetic(dataset.target[rows])
    return [
        {"lat": round(float(north), 6), "lon": round(float(east), 6), "split": SPLITS[side]}
        for north, east, side in zip(lat, lon, dataset.split[rows], strict=True)
    ]


def _floor(dataset: Dataset) -> float | None:
    bound = cramer_rao.position_error_bound(dataset, dataset.rows("test"))
    if bound is None or not np.isfinite(bound).any():
        return None
    return round(float(np.median(bound[np.isfinite(bound)])), 1)
