"""Maximum likelihood positioning with a propagation model fitted to the training split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.evaluation.cramer_rao import normal_cdf
from training.localization.geometry import Floats, distances
from training.localization.localizer.clock_offsets import (
    ClockOffsets,
    relative_ranges,
    subtract_emission_time,
)

_COARSE_POINTS = 32  # of the first grid, along each side
_ZOOM_POINTS = 7  # of each finer grid, along each side
_ZOOMS = 6
_MAX_DISTANCES = 4_000_000  # computed at a time, to bound memory
_MIN_READINGS = 30
_EM_ITERATIONS = 30
_MAX_FIT_SAMPLES = 3000
_PRIOR_READINGS = 5.0
_MIN_SIGMA_DB = 0.1
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class PathLossModel:
    """strength = level[r] - slope log10(distance) + N(0, sigma^2); detected above threshold[r]."""

    level: Floats
    slope: float
    sigma: float
    threshold: Floats

    @classmethod
    def fit(
        cls, strength: Floats, distance: Floats, in_service: NDArray[np.bool_]
    ) -> PathLossModel | None:
        """One slope for all and a level for each receiver; None with too few readings.

        Undetected signals count, by expectation maximization. Otherwise distant receivers would
        seem stronger than they are (Tobin 1958, Estimation of Relationships for Limited Dependent
        Variables).
        """
        detected = ~np.isnan(strength) & ~np.isnan(distance)
        if detected.sum() < _MIN_READINGS:
            return None
        undetected = in_service & np.isnan(strength) & ~np.isnan(distance)
        used = detected | undetected
        log_distance = np.log10(np.where(np.isnan(distance), 1.0, distance))
        weakest = np.where(detected, strength, np.inf).min(axis=0)
        threshold = np.where(np.isfinite(weakest), weakest, strength[detected].min())
        filled = np.where(detected, strength, threshold)
        variance = np.zeros_like(log_distance)
        for _ in range(_EM_ITERATIONS):
            level, slope = _fit_lines(filled, log_distance, used)
            expected = level - slope * log_distance
            squared = (filled - expected) ** 2 + variance
            sigma = max(float(np.sqrt(squared[used].mean())), _MIN_SIGMA_DB)
            z = (threshold - expected) / sigma
            hazard = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
            hazard /= np.maximum(normal_cdf(z), 1e-12)
            filled = np.where(undetected, expected - sigma * hazard, filled)
            shrinkage = np.clip(1 - hazard * (z + hazard), 0, 1)
            variance = np.where(undetected, sigma**2 * shrinkage, 0.0)
        return cls(level, slope, sigma, threshold)

    def log_likelihood(
        self, strength: Floats, distance: Floats, in_service: NDArray[np.bool_]
    ) -> Floats:
        """Strengths [n, 1, R] at distances [n, G, R] to [n, G]."""
        expected = self.level - self.slope * np.log10(distance)
        z = (np.nan_to_num(strength) - expected) / self.sigma
        undetected = np.maximum(normal_cdf((self.threshold - expected) / self.sigma), 1e-6)
        detected = ~np.isnan(strength)
        terms = np.where(detected, -(z**2) / 2, np.where(in_service, np.log(undetected), 0.0))
        return np.asarray(np.where(~np.isnan(distance), terms, 0.0).sum(axis=-1))


def _fit_lines(
    strength: Floats, log_distance: Floats, used: NDArray[np.bool_]
) -> tuple[Floats, float]:
    """Least squares: a level [R] for each receiver, and one slope for all."""
    count = used.sum(axis=0)
    mean_log, mean_strength = (
        (x * used).sum(axis=0) / np.maximum(count, 1) for x in (log_distance, strength)
    )
    centered = (log_distance - mean_log) * used
    spread = float((centered**2).sum())
    slope = -float((centered * strength).sum()) / spread if spread > 0 else 0.0
    level = mean_strength + slope * mean_log
    mean_level = float((level * count).sum() / count.sum())
    return (level * count + mean_level * _PRIOR_READINGS) / (count + _PRIOR_READINGS), slope


def estimate_positions(dataset: Dataset, rows: Rows) -> Floats | None:
    """[n, 2]: maximum likelihood over the area of the training split, on successively finer grids.

    Signal strengths follow a log-distance model (Rappaport 2002, eq. 4.69a), arrivals their time of
    flight; both are fitted to the training split. None if no receiver has a known position.
    """
    model = _LikelihoodModel.fit(dataset)
    if model is None or not len(rows):
        return None
    target = dataset.target[dataset.rows("train")].astype(float)
    low, high = target.min(axis=0), target.max(axis=0)
    axes = np.linspace(low, high, _COARSE_POINTS)
    grid = np.stack(np.meshgrid(*axes.T, indexing="ij"), axis=-1).reshape(-1, 2)
    estimates = np.empty((len(rows), 2))
    step = (high - low) / (_COARSE_POINTS - 1)
    size = max(1, _MAX_DISTANCES // (len(grid) * len(dataset.receivers)))
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        estimates[start : start + size] = _search_grid(model, chunk, grid, step)
    return estimates


def _search_grid(model: _LikelihoodModel, rows: Rows, grid: Floats, step: Floats) -> Floats:
    positions = np.broadcast_to(grid, (len(rows), *grid.shape))
    axis = np.linspace(-1, 1, _ZOOM_POINTS)
    zoom = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    for _ in range(_ZOOMS):
        index = model.log_likelihood(rows, positions).argmax(axis=1)
        best = np.take_along_axis(positions, index[:, None, None], axis=1)
        positions, step = best + zoom * step, step * 2 / (_ZOOM_POINTS - 1)
    index = model.log_likelihood(rows, positions).argmax(axis=1)
    return np.take_along_axis(positions, index[:, None, None], axis=1)[:, 0]


@dataclass(frozen=True, slots=True)
class _LikelihoodModel:
    """The dataset's signals, with models of strengths and arrivals fitted to its training split."""

    strength: Floats
    ranges: Floats
    rx: Floats
    in_service: NDArray[np.bool_]
    path_loss: PathLossModel | None
    clock_offsets: ClockOffsets

    @classmethod
    def fit(cls, dataset: Dataset) -> _LikelihoodModel | None:
        train = dataset.rows("train")
        strength = np.where(np.isnan(dataset.rssi), dataset.snr, dataset.rssi).astype(float)
        clock_offsets = ClockOffsets.fit(dataset, train)
        subset = np.random.default_rng(0).permutation(train)[:_MAX_FIT_SAMPLES]
        distance = distances(dataset.target[subset], dataset.rx[subset])
        path_loss = PathLossModel.fit(strength[subset], distance, dataset.in_service[subset])
        if path_loss is None and clock_offsets.sigma_m is None:
            return None
        ranges = relative_ranges(dataset.toa) - np.array(clock_offsets.offset_m)
        rx = dataset.rx.astype(float)
        return cls(strength, ranges, rx, dataset.in_service, path_loss, clock_offsets)

    def log_likelihood(self, rows: Rows, positions: Floats) -> Floats:
        """Of the samples `rows` [n] at positions [n, G, 2]: [n, G]."""
        rx = self.rx[rows][:, None]  # [n, 1, R, 3]
        horizontal = np.hypot(*np.moveaxis(positions[:, :, None] - rx[..., :2], -1, 0))
        distance = np.maximum(np.hypot(horizontal, np.nan_to_num(rx[..., 2])), 1.0)
        total = np.zeros(positions.shape[:2])
        if self.path_loss is not None:
            in_service = self.in_service[rows][:, None]
            strength = self.strength[rows][:, None]
            total += self.path_loss.log_likelihood(strength, distance, in_service)
        if self.clock_offsets.sigma_m is not None:
            residual = self.ranges[rows][:, None] - distance
            shape = residual.shape
            residual = subtract_emission_time(residual.reshape(-1, shape[-1])).reshape(shape)
            total -= np.nansum(residual**2, axis=-1) / (2 * self.clock_offsets.sigma_m**2)
        return total
