"""The Cramér-Rao bound by simulation: no formula of `bounds` is used."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from training.localization.geometry import SPEED_OF_LIGHT, distances
from training.localization.synthetic.propagation import received_power_dbm

_STEP_M = 1.0
_erfc = np.frompyfunc(math.erfc, 1, 1)


def monte_carlo_bound(
    place: np.ndarray,
    receivers: np.ndarray,
    physics: dict[str, Any],
    draws: int,
    seed: int = 0,
    *,
    strength: bool = True,
) -> float:
    """Root trace of the inverse of the score's covariance at `place` [1, 2], in metres.

    With timing the instant of sending is a third unknown, which Fisher's matrix holds in full.
    """
    rng = np.random.default_rng(seed)
    sigma = physics["shadowing_db"]
    threshold = physics["noise_floor_dbm"] + physics["detection_snr_db"]

    def expected(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away = distances(at, receivers)[0]
        law = (physics["transmit_dbm"], physics["frequency_mhz"], physics["path_loss_exponent"])
        return received_power_dbm(away, *law), away

    level, away = expected(place)
    rssi = level + sigma * rng.standard_normal((draws, len(receivers)))
    heard = rssi >= threshold
    timing = physics["timing_sigma_ns"]
    metres = None if timing is None else timing * 1e-9 * SPEED_OF_LIGHT
    ranges = away + (metres or 0.0) * rng.standard_normal(rssi.shape)

    def log_likelihood(at: np.ndarray, instant: float) -> np.ndarray:
        level, away = expected(at)
        silence = np.log(np.asarray(_erfc((level - threshold) / sigma / math.sqrt(2)), float) / 2)
        total = np.zeros(draws)
        if strength:
            each = np.where(heard, -((rssi - level) ** 2) / (2 * sigma**2), silence)
            total += each.sum(axis=1)
        if metres is not None:
            left = (ranges - away - instant) ** 2 / (2 * metres**2)
            total -= np.where(heard, left, 0.0).sum(axis=1)
        return np.asarray(total)

    def slope(east: float, north: float, instant: float) -> np.ndarray:
        step = np.array([[east, north]])
        up, down = log_likelihood(place + step, instant), log_likelihood(place - step, -instant)
        return (up - down) / (2 * _STEP_M)

    scores = [slope(_STEP_M, 0, 0), slope(0, _STEP_M, 0)]
    if metres is not None:
        scores.append(slope(0, 0, _STEP_M))
    inverse = np.linalg.inv(np.cov(np.stack(scores)))
    return float(np.sqrt(np.trace(inverse[:2, :2])))
