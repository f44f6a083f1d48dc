"""The Cramér-Rao bound by simulation, without the formulas of `cramer_rao`."""

from __future__ import annotations

import math

import numpy as np

from training.localization.config import Physics
from training.localization.geometry import SPEED_OF_LIGHT, distances
from training.localization.synthetic.propagation import received_power_dbm

_STEP_M = 1.0
_erfc = np.frompyfunc(math.erfc, 1, 1)


def monte_carlo_bound(
    place: np.ndarray,
    receivers: np.ndarray,
    physics: Physics,
    draws: int,
    seed: int = 0,
    *,
    strength: bool = True,
) -> float:
    """Root trace of the inverse of the score's covariance at `place` [1, 2], in meters.

    With arrival times the emission time is a third unknown of the Fisher information.
    """
    rng = np.random.default_rng(seed)
    sigma = physics["shadowing_db"]
    threshold = physics["noise_floor_dbm"] + physics["detection_snr_db"]

    def expected(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = distances(at, receivers)[0]
        law = (physics["transmit_dbm"], physics["frequency_mhz"], physics["path_loss_exponent"])
        return received_power_dbm(distance, *law), distance

    level, distance = expected(place)
    rssi = level + sigma * rng.standard_normal((draws, len(receivers)))
    heard = rssi >= threshold
    timing = physics["timing_sigma_ns"]
    sigma_m = None if timing is None else timing * 1e-9 * SPEED_OF_LIGHT
    ranges = distance + (sigma_m or 0.0) * rng.standard_normal(rssi.shape)

    def log_likelihood(at: np.ndarray, emission: float) -> np.ndarray:
        level, distance = expected(at)
        silence = np.log(np.asarray(_erfc((level - threshold) / sigma / math.sqrt(2)), float) / 2)
        total = np.zeros(draws)
        if strength:
            each = np.where(heard, -((rssi - level) ** 2) / (2 * sigma**2), silence)
            total += each.sum(axis=1)
        if sigma_m is not None:
            squared = (ranges - distance - emission) ** 2 / (2 * sigma_m**2)
            total -= np.where(heard, squared, 0.0).sum(axis=1)
        return np.asarray(total)

    def score(east: float, north: float, emission: float) -> np.ndarray:
        step = np.array([[east, north]])
        up, down = log_likelihood(place + step, emission), log_likelihood(place - step, -emission)
        return np.asarray((up - down) / (2 * _STEP_M))

    scores = [score(_STEP_M, 0, 0), score(0, _STEP_M, 0)]
    if sigma_m is not None:
        scores.append(score(0, 0, _STEP_M))
    inverse = np.linalg.inv(np.cov(np.stack(scores)))
    return float(np.sqrt(np.trace(inverse[:2, :2])))
