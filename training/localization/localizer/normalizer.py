"""Scales of signals and positions, fitted to the training split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.geometry import Floats
from training.localization.localizer.clock_offsets import (
    ClockOffsets,
    StoredClockOffsets,
    subtract_emission_time,
)

# Weight of the mean over all receivers in the level of each one, in readings.
_PRIOR_READINGS = 10.0


class StoredScale(TypedDict):
    level: list[float] | tuple[float, ...]
    weakest: list[float] | tuple[float, ...]
    spread: float


class StoredNormalizer(TypedDict):
    """The normalizer in model files and checkpoints, whose keys never change."""

    centre: list[float] | tuple[float, float]
    metres: float
    rssi: StoredScale
    snr: StoredScale
    toa_ns: float
    timing: StoredClockOffsets
    moves: list[bool] | tuple[bool, ...]
    token_center: NotRequired[list[list[float]]]  # absent before version 0.3


@dataclass(frozen=True, slots=True)
class Scale:
    """Of one kind of signal: level and weakest reading of each receiver [R], one spread for all.

    Levels are per receiver, because gains are not calibrated. `weakest` stands in for a reading
    below the detection threshold.
    """

    level: tuple[float, ...]
    weakest: tuple[float, ...]
    spread: float

    @classmethod
    def fit(cls, signal: Floats) -> Scale:
        valid = ~np.isnan(signal)
        overall_mean = float(signal[valid].mean(dtype=float)) if valid.any() else 0.0
        count = valid.sum(axis=0)
        total = np.where(valid, signal, 0.0).sum(axis=0, dtype=float)
        level = (total + _PRIOR_READINGS * overall_mean) / (count + _PRIOR_READINGS)
        residual = (signal - level)[valid]
        overall_min = float(signal[valid].min()) if valid.any() else 0.0
        weakest = np.where(valid, signal, np.inf).min(axis=0)
        return cls(
            level=tuple(level.tolist()),
            weakest=tuple(np.where(count > 0, weakest, overall_min).tolist()),
            spread=_rms(residual),
        )

    def standardize(self, signal: Floats) -> Floats:
        filled = np.where(np.isnan(signal), self.weakest, signal)
        return np.asarray((filled - np.asarray(self.level)) / self.spread)

    def to_dict(self) -> StoredScale:
        return {"level": self.level, "weakest": self.weakest, "spread": self.spread}

    @classmethod
    def from_dict(cls, stored: StoredScale) -> Scale:
        return cls(tuple(stored["level"]), tuple(stored["weakest"]), stored["spread"])


@dataclass(frozen=True, slots=True)
class Normalizer:
    """Fitted to the training split only, and stored in checkpoints.

    Positions have one isotropic scale, `meters_per_unit`, which preserves ratios of distances.
    `mobile` [R]: which receivers have no fixed position. `token_center` [1 + R][F]: means of the
    features, None for networks whose tokens are not centered.
    """

    center: tuple[float, float]
    meters_per_unit: float
    rssi: Scale
    snr: Scale
    toa_ns: float
    clock_offsets: ClockOffsets
    mobile: tuple[bool, ...]
    token_center: tuple[tuple[float, ...], ...] | None = None

    @classmethod
    def fit(cls, dataset: Dataset, rows: NDArray[np.intp]) -> Normalizer:
        target = dataset.target[rows].astype(float)
        center = target.mean(axis=0)
        relative = subtract_emission_time(dataset.toa[rows])
        return cls(
            center=(float(center[0]), float(center[1])),
            meters_per_unit=_rms(target - center),
            rssi=Scale.fit(dataset.rssi[rows]),
            snr=Scale.fit(dataset.snr[rows]),
            toa_ns=_rms(relative[~np.isnan(relative)]),
            clock_offsets=ClockOffsets.fit(dataset, rows),
            mobile=tuple(not receiver.fixed for receiver in dataset.receivers),
        )

    def positions_to_units(self, position: Floats) -> NDArray[np.float32]:
        return np.asarray((position - np.asarray(self.center)) / self.meters_per_unit, np.float32)

    def to_dict(self) -> StoredNormalizer:
        stored: StoredNormalizer = {
            "centre": self.center,
            "metres": self.meters_per_unit,
            "rssi": self.rssi.to_dict(),
            "snr": self.snr.to_dict(),
            "toa_ns": self.toa_ns,
            "timing": self.clock_offsets.to_dict(),
            "moves": self.mobile,
        }
        if self.token_center is not None:
            stored["token_center"] = [list(token) for token in self.token_center]
        return stored

    @classmethod
    def from_dict(cls, stored: StoredNormalizer) -> Normalizer:
        east, north = stored["centre"]
        token_center = stored.get("token_center")
        return cls(
            center=(east, north),
            meters_per_unit=stored["metres"],
            rssi=Scale.from_dict(stored["rssi"]),
            snr=Scale.from_dict(stored["snr"]),
            toa_ns=stored["toa_ns"],
            clock_offsets=ClockOffsets.from_dict(stored["timing"]),
            mobile=tuple(stored["moves"]),
            token_center=None if token_center is None else tuple(map(tuple, token_center)),
        )


def _rms(values: Floats) -> float:
    # Root mean square; 1 if there are no values or all are 0, so that it can divide.
    rms = float(np.sqrt(np.mean(np.square(values, dtype=float)))) if values.size else 0.0
    return rms if rms > 0 else 1.0
