"""How well arrival times are kept: each receiver's clock offset, and the spread of what is left."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.geometry import SPEED_OF_LIGHT, Floats, distances

_ROUNDS = 20  # of taking turns: offsets of receivers, instants of sending
_MAD_TO_SIGMA = 1.4826  # of a Gaussian
_FEWEST = 30  # readings, below which nothing is said of a spread


@dataclass(frozen=True, slots=True)
class ClockOffsets:
    """Range error [R] in metres to take off each receiver's arrival, and its standard deviation.

    `sigma_m` None: arrival times are absent, or too few to be trusted.
    """

    offset_m: tuple[float, ...]
    sigma_m: float | None

    @classmethod
    def fit(cls, dataset: Dataset, rows: NDArray[np.intp]) -> ClockOffsets:
        """From places that are known: what an arrival has beside the time of flight."""
        left = ranges(dataset.toa[rows]) - distances(dataset.target[rows], dataset.rx[rows])
        there = ~np.isnan(left)
        there &= there.sum(axis=1, keepdims=True) > 1  # one alone says nothing
        count = int(there.sum())
        receivers = len(dataset.receivers)
        if count < _FEWEST:
            return cls((0.0,) * receivers, None)
        left = np.where(there, left, np.nan)
        offset = np.zeros(receivers)
        for _ in range(_ROUNDS):
            offset += _medians(subtract_emission_time(left - offset))
        offset -= offset.mean()
        rest = subtract_emission_time(left - offset)[there]
        # Each sample's own instant has been fitted, too.
        freedom = (count - there.any(axis=1).sum()) / count
        sigma = _MAD_TO_SIGMA * float(np.median(np.abs(rest))) / np.sqrt(max(freedom, 1e-3))
        return cls(tuple(offset.tolist()), max(float(sigma), 1e-3))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> ClockOffsets:
        return cls(tuple(kept["offset_m"]), kept["sigma_m"])


def ranges(toa: Floats) -> Floats:
    """[N, R] ns to metres since the sample's mean arrival, so that 32 bits would hold them."""
    return subtract_emission_time(np.asarray(toa, float) * 1e-9 * SPEED_OF_LIGHT)


def subtract_emission_time(arrivals: Floats) -> Floats:
    """[N, R] less each sample's mean: when it was sent is unknown, only differences inform."""
    there = ~np.isnan(arrivals)
    sums = np.where(there, arrivals, 0.0).sum(axis=1, keepdims=True, dtype=float)
    return np.asarray(arrivals - sums / np.maximum(there.sum(axis=1, keepdims=True), 1))


def _medians(columns: Floats) -> Floats:
    """Of each column [R] what is there; 0 where nothing is."""
    found = np.zeros(columns.shape[1])
    for index, column in enumerate(columns.T):
        there = column[~np.isnan(column)]
        found[index] = np.median(there) if len(there) else 0.0
    return found
