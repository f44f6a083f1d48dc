"""Classical localisation: the place at which what was heard is likeliest, given a fitted model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.evaluation.cramer_rao import normal_cdf
from training.localization.geometry import Floats, distances
from training.localization.localizer.clock_offsets import (
    ClockOffsets,
    ranges,
    subtract_emission_time,
)

_ACROSS = 32  # places of the first grid, along each side
_ZOOM = 7  # of each closer one
_ROUNDS = 6
_CELLS = 4_000_000  # distances at a time, so memory stays bounded
_FEWEST = 30
_ROUNDS_OF_EM = 30
_MOST = 3000  # samples to fit the law to
_PRIOR_READINGS = 5.0
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class PathLoss:
    """strength = level[r] - slope log10(distance) + N(0, sigma^2), unheard below threshold[r]."""

    level: Floats
    slope: float
    sigma: float
    threshold: Floats

    @classmethod
    def fit(cls, strength: Floats, away: Floats, listens: NDArray[np.bool_]) -> PathLoss | None:
        """One slope and a level for each receiver; None where too little is there to fit.

        What was too weak to be heard counts as well, by expectation-maximisation: or else far
        receivers seem stronger than they are (Tobin 1958, Estimation of Relationships for Limited
        Dependent Variables).
        """
        there = ~np.isnan(strength) & ~np.isnan(away)
        if there.sum() < _FEWEST:
            return None
        silent = listens & np.isnan(strength) & ~np.isnan(away)
        log = np.log10(np.where(np.isnan(away), 1.0, away))
        weakest = np.where(there, strength, np.inf).min(axis=0)
        threshold = np.where(np.isfinite(weakest), weakest, strength[there].min())
        read, variance = np.where(there, strength, threshold), np.zeros_like(log)
        for _ in range(_ROUNDS_OF_EM):
            level, slope = _lines(read, log, there | silent)
            expected = level - slope * log
            squared = (read - expected) ** 2 + variance
            sigma = max(float(np.sqrt(squared[there | silent].mean())), 0.1)
            beyond = (threshold - expected) / sigma
            hazard = np.exp(-(beyond**2) / 2) / np.sqrt(2 * np.pi)
            hazard /= np.maximum(normal_cdf(beyond), 1e-12)
            read = np.where(silent, expected - sigma * hazard, read)
            rest = np.clip(1 - hazard * (beyond + hazard), 0, 1)
            variance = np.where(silent, sigma**2 * rest, 0.0)
        return cls(level, slope, sigma, threshold)

    def log_likelihood(self, strength: Floats, away: Floats, listens: NDArray[np.bool_]) -> Floats:
        """Strengths [n, 1, R] at distances [n, G, R] to [n, G]."""
        expected = self.level - self.slope * np.log10(away)
        above = (np.nan_to_num(strength) - expected) / self.sigma
        silence = np.maximum(normal_cdf((self.threshold - expected) / self.sigma), 1e-6)
        heard = ~np.isnan(strength)
        known = ~np.isnan(away)
        each = np.where(heard, -(above**2) / 2, np.where(listens, np.log(silence), 0.0))
        return np.asarray(np.where(known, each, 0.0).sum(axis=-1))


def _lines(read: Floats, log: Floats, used: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Least squares: a level [R] for each receiver, and one slope for all."""
    count = used.sum(axis=0)
    mean_log, mean_read = ((x * used).sum(axis=0) / np.maximum(count, 1) for x in (log, read))
    around = (log - mean_log) * used
    spread = float((around**2).sum())
    slope = -float((around * read).sum()) / spread if spread > 0 else 0.0
    level = mean_read + slope * mean_log
    usual = float((level * count).sum() / count.sum())
    return (level * count + usual * _PRIOR_READINGS) / (count + _PRIOR_READINGS), slope


def maximise(dataset: Dataset, rows: Rows) -> Floats | None:
    """[n, 2]: maximum likelihood over the area of the training split, on a grid that closes in.

    Strengths by a log-distance law (Rappaport 2002, eq. 4.69a), arrivals by their time of flight,
    both fitted to the training split; None where no receiver's place is known.
    """
    model = _Fitted.to(dataset)
    if model is None or not len(rows):
        return None
    target = dataset.target[dataset.rows("train")].astype(float)
    low, high = target.min(axis=0), target.max(axis=0)
    lines = np.linspace(low, high, _ACROSS)
    grid = np.stack(np.meshgrid(*lines.T, indexing="ij"), axis=-1).reshape(-1, 2)
    best = np.empty((len(rows), 2))
    step = (high - low) / (_ACROSS - 1)
    size = max(1, _CELLS // (len(grid) * len(dataset.receivers)))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        best[start : start + size] = _closing_in(model, part, grid, step)
    return best


def _closing_in(model: _Fitted, rows: Rows, grid: Floats, step: Floats) -> Floats:
    places = np.broadcast_to(grid, (len(rows), *grid.shape))
    steps = np.linspace(-1, 1, _ZOOM)
    around = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    for _ in range(_ROUNDS):
        found = model.log_likelihood(rows, places).argmax(axis=1)
        best = np.take_along_axis(places, found[:, None, None], axis=1)
        places, step = best + around * step, step * 2 / (_ZOOM - 1)
    found = model.log_likelihood(rows, places).argmax(axis=1)
    return np.take_along_axis(places, found[:, None, None], axis=1)[:, 0]


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What the training split says of strengths and of arrivals."""

    strength: Floats
    ranges: Floats
    rx: Floats
    listens: NDArray[np.bool_]
    path_loss: PathLoss | None
    timing: ClockOffsets

    @classmethod
    def to(cls, dataset: Dataset) -> _Fitted | None:
        train = dataset.rows("train")
        strength = np.where(np.isnan(dataset.rssi), dataset.snr, dataset.rssi).astype(float)
        timing = ClockOffsets.fit(dataset, train)
        some = np.random.default_rng(0).permutation(train)[:_MOST]
        away = distances(dataset.target[some], dataset.rx[some])
        path_loss = PathLoss.fit(strength[some], away, dataset.in_service[some])
        if path_loss is None and timing.sigma_m is None:
            return None
        metres = ranges(dataset.toa) - np.array(timing.offset_m)
        rx = dataset.rx.astype(float)
        return cls(strength, metres, rx, dataset.in_service, path_loss, timing)

    def log_likelihood(self, rows: Rows, places: Floats) -> Floats:
        """Of the samples `rows` [n] at places [n, G, 2]: [n, G]."""
        rx = self.rx[rows][:, None]  # [n, 1, R, 3]
        flat = np.hypot(*np.moveaxis(places[:, :, None] - rx[..., :2], -1, 0))
        away = np.maximum(np.hypot(flat, np.nan_to_num(rx[..., 2])), 1.0)
        total = np.zeros(places.shape[:2])
        if self.path_loss is not None:
            listens = self.listens[rows][:, None]
            total += self.path_loss.log_likelihood(self.strength[rows][:, None], away, listens)
        if self.timing.sigma_m is not None:
            left = self.ranges[rows][:, None] - away
            rest = subtract_emission_time(left.reshape(-1, left.shape[-1])).reshape(left.shape)
            total -= np.nansum(rest**2, axis=-1) / (2 * self.timing.sigma_m**2)
        return total
