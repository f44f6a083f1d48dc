"""The Bayes-optimal estimator from signal strengths, for synthetic data of known physics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.evaluation.cramer_rao import normal_cdf
from training.localization.geometry import Floats, distances
from training.localization.synthetic.area import BufferedConvexHull
from training.localization.synthetic.propagation import received_power_dbm

_GRID_CELLS = 16_000
_CHUNK = 1024


def posterior_mean(dataset: Dataset, rows: NDArray[np.intp]) -> Floats | None:
    """[n, 2]: the mean of the posterior on a grid, which has the lowest RMSE of all estimators.

    The prior is the area that transmitters were drawn from. None if the physics is unknown, or if
    a grid cannot represent the posterior: too narrow with arrival times, too irregular with
    spatially correlated shadowing.
    """
    physics = dataset.physics
    if physics is None or physics["timing_sigma_ns"] is not None or physics["shadowing_db"] <= 0:
        return None
    if physics.get("shadowing_reach_km") is not None:
        return None
    rx = dataset.rx[0].astype(float)
    grid = _grid(BufferedConvexHull(rx[:, :2], physics["margin_km"] * 1000), rx[:, :2])
    expected = received_power_dbm(
        distances(grid, rx),
        physics["transmit_dbm"],
        physics["frequency_mhz"],
        physics["path_loss_exponent"],
    )
    sigma = physics["shadowing_db"]
    threshold = physics["noise_floor_dbm"] + physics["detection_snr_db"]
    log_silent = np.log(np.maximum(normal_cdf((threshold - expected) / sigma), 1e-300))
    estimate = np.empty((len(rows), 2))
    for start in range(0, len(rows), _CHUNK):
        rssi = dataset.rssi[rows[start : start + _CHUNK]].astype(float)
        heard = ~np.isnan(rssi)
        # log N(rssi; expected, sigma), without the terms that do not depend on the position.
        log = np.nan_to_num(rssi) @ (expected / sigma**2).T
        log -= heard @ (expected**2 / (2 * sigma**2)).T
        log += ~heard @ log_silent.T
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        estimate[start : start + _CHUNK] = weight @ grid / weight.sum(axis=1, keepdims=True)
    return estimate


def _grid(area: BufferedConvexHull, receivers: Floats) -> Floats:
    step = np.sqrt(area.area / _GRID_CELLS)
    low, high = receivers.min(axis=0) - area.margin, receivers.max(axis=0) + area.margin
    axes = [np.arange(a + step / 2, b, step) for a, b in zip(low, high, strict=True)]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return positions[area.contains(positions)]
