"""What signals and places are scaled by: what the training split showed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.geometry import Floats
from training.localization.localizer.clock_offsets import ClockOffsets, subtract_emission_time

# A receiver with few readings leans on what all receivers show, as if it had this many of theirs.
_PRIOR_READINGS = 10.0


@dataclass(frozen=True, slots=True)
class Scale:
    """Of one kind of signal: each receiver's usual level and its weakest, and one spread for all.

    Gains are uncalibrated, so levels belong to receivers; a silent one is taken to read `weakest`.
    """

    level: tuple[float, ...]
    weakest: tuple[float, ...]
    spread: float

    @classmethod
    def fit(cls, signal: Floats) -> Scale:
        """Of [N, R] readings, NaN where absent."""
        there = ~np.isnan(signal)
        total = float(signal[there].mean(dtype=float)) if there.any() else 0.0
        count = there.sum(axis=0)
        sums = np.where(there, signal, 0.0).sum(axis=0, dtype=float)
        level = (sums + _PRIOR_READINGS * total) / (count + _PRIOR_READINGS)
        rest = (signal - level)[there]
        lowest = float(signal[there].min()) if there.any() else 0.0
        weakest = np.where(there, signal, np.inf).min(axis=0)
        return cls(
            level=tuple(level.tolist()),
            weakest=tuple(np.where(count > 0, weakest, lowest).tolist()),
            spread=_spread(rest),
        )

    def standardize(self, signal: Floats) -> Floats:
        """[N, R] readings to about unit variance; the weakest seen where absent."""
        filled = np.where(np.isnan(signal), self.weakest, signal)
        return np.asarray((filled - np.asarray(self.level)) / self.spread)


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Fitted on the training split only; travels in the checkpoint.

    Positions have one isotropic scale (metres per unit), so that distances keep their meaning.
    `moves` [R]: which receivers have no place of their own.
    """

    centre: tuple[float, float]
    metres: float
    rssi: Scale
    snr: Scale
    toa_ns: float
    timing: ClockOffsets
    moves: tuple[bool, ...]

    @classmethod
    def fit(cls, dataset: Dataset, rows: NDArray[np.intp]) -> Normalizer:
        """From the samples `rows` of a dataset, as a rule `dataset.rows("train")`."""
        target = dataset.target[rows].astype(float)
        centre = target.mean(axis=0)
        relative = subtract_emission_time(dataset.toa[rows])
        return cls(
            centre=(float(centre[0]), float(centre[1])),
            metres=_spread(target - centre),
            rssi=Scale.fit(dataset.rssi[rows]),
            snr=Scale.fit(dataset.snr[rows]),
            toa_ns=_spread(relative[~np.isnan(relative)]),
            timing=ClockOffsets.fit(dataset, rows),
            moves=tuple(not receiver.fixed for receiver in dataset.receivers),
        )

    def positions_to_units(self, position: Floats) -> NDArray[np.float32]:
        """[..., 2] metres to what the network predicts."""
        return np.asarray((position - np.asarray(self.centre)) / self.metres, np.float32)

    def positions_to_metres(self, units: Floats) -> Floats:
        """[..., 2] back to metres."""
        return np.asarray(np.asarray(units, float) * self.metres + np.asarray(self.centre))

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Normalizer:
        """The inverse of `to_dict`, also after JSON."""
        east, north = kept["centre"]
        return cls(
            centre=(east, north),
            metres=kept["metres"],
            rssi=_scale(kept["rssi"]),
            snr=_scale(kept["snr"]),
            toa_ns=kept["toa_ns"],
            timing=ClockOffsets.from_dict(kept["timing"]),
            moves=tuple(kept["moves"]),
        )


def _spread(values: Floats) -> float:
    """Root mean square; 1 where there is nothing to scale by."""
    spread = float(np.sqrt(np.mean(np.square(values, dtype=float)))) if values.size else 0.0
    return spread if spread > 0 else 1.0


def _scale(kept: dict[str, Any]) -> Scale:
    return Scale(tuple(kept["level"]), tuple(kept["weakest"]), kept["spread"])
