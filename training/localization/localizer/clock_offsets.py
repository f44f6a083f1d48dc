"""Clock errors of arrival times: an offset for each receiver, and the spread of the residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.geometry import SPEED_OF_LIGHT, Floats, distances

_ROUNDS = 20  # alternations between receiver offsets and emission times
_MAD_TO_SIGMA = 1.4826  # of a Gaussian
_MIN_READINGS = 30  # to estimate a spread
_MIN_SIGMA_M = 1e-3


class StoredClockOffsets(TypedDict):
    offset_m: list[float] | tuple[float, ...]
    sigma_m: float | None


@dataclass(frozen=True, slots=True)
class ClockOffsets:
    """Range errors [R] in meters to subtract from arrivals, and their standard deviation.

    `sigma_m` is None if there are no arrival times, or too few to estimate it.
    """

    offset_m: tuple[float, ...]
    sigma_m: float | None

    @classmethod
    def fit(cls, dataset: Dataset, rows: NDArray[np.intp]) -> ClockOffsets:
        distance = distances(dataset.target[rows], dataset.rx[rows])
        residual = relative_ranges(dataset.toa[rows]) - distance
        valid = ~np.isnan(residual)
        # A single arrival has no information: the emission time is unknown.
        valid &= valid.sum(axis=1, keepdims=True) > 1
        count = int(valid.sum())
        receivers = len(dataset.receivers)
        if count < _MIN_READINGS:
            return cls((0.0,) * receivers, None)
        residual = np.where(valid, residual, np.nan)
        offset = np.zeros(receivers)
        for _ in range(_ROUNDS):
            offset += _column_medians(subtract_emission_time(residual - offset))
        offset -= offset.mean()
        noise = subtract_emission_time(residual - offset)[valid]
        # The emission time of each sample has been estimated from the same data.
        freedom = (count - valid.any(axis=1).sum()) / count
        sigma = _MAD_TO_SIGMA * float(np.median(np.abs(noise))) / np.sqrt(max(freedom, 1e-3))
        return cls(tuple(offset.tolist()), max(float(sigma), _MIN_SIGMA_M))

    def to_dict(self) -> StoredClockOffsets:
        return {"offset_m": self.offset_m, "sigma_m": self.sigma_m}

    @classmethod
    def from_dict(cls, stored: StoredClockOffsets) -> ClockOffsets:
        return cls(tuple(stored["offset_m"]), stored["sigma_m"])


def relative_ranges(toa: Floats) -> Floats:
    """[N, R] ns to meters relative to the sample's mean arrival, small enough for float32."""
    return subtract_emission_time(np.asarray(toa, float) * 1e-9 * SPEED_OF_LIGHT)


def subtract_emission_time(arrivals: Floats) -> Floats:
    """[N, R] minus the mean of each sample over its arrivals; NaN stays NaN.

    The emission time is unknown, so only differences of arrivals have information.
    """
    valid = ~np.isnan(arrivals)
    total = np.where(valid, arrivals, 0.0).sum(axis=1, keepdims=True, dtype=float)
    return np.asarray(arrivals - total / np.maximum(valid.sum(axis=1, keepdims=True), 1))


def _column_medians(columns: Floats) -> Floats:
    medians = np.zeros(columns.shape[1])
    for index, column in enumerate(columns.T):
        values = column[~np.isnan(column)]
        medians[index] = np.median(values) if len(values) else 0.0
    return medians
