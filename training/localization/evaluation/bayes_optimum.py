"""The best that anyone could do with signal strengths, the physics being known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.evaluation.cramer_rao import normal_cdf
from training.localization.geometry import Floats, distances
from training.localization.synthetic.area import BufferedConvexHull
from training.localization.synthetic.propagation import received_power_dbm

_CELLS = 16_000
_CHUNK = 1024


def posterior_mean(dataset: Dataset, rows: NDArray[np.intp]) -> Floats | None:
    """[n, 2]: the mean of the posterior on a grid, which has the least RMSE of all estimators.

    The prior is the area that the transmitters were drawn from. None where the physics is unknown,
    or the posterior too narrow (arrival times) or too intricate (shadowing that belongs to the
    place) for a grid.
    """
    physics = dataset.physics
    if physics is None or physics["timing_sigma_ns"] is not None or physics["shadowing_db"] <= 0:
        return None
    if physics.get("shadowing_reach_km") is not None:
        return None
    stations = dataset.rx[0].astype(float)
    grid = _grid(BufferedConvexHull(stations[:, :2], physics["margin_km"] * 1000), stations[:, :2])
    expected = received_power_dbm(
        distances(grid, stations),
        physics["transmit_dbm"],
        physics["frequency_mhz"],
        physics["path_loss_exponent"],
    )
    sigma = physics["shadowing_db"]
    threshold = physics["noise_floor_dbm"] + physics["detection_snr_db"]
    silence = np.log(np.maximum(normal_cdf((threshold - expected) / sigma), 1e-300))
    found = np.empty((len(rows), 2))
    for start in range(0, len(rows), _CHUNK):
        read = dataset.rssi[rows[start : start + _CHUNK]].astype(float)
        heard = ~np.isnan(read)
        # log N(read; expected, sigma) without what is the same everywhere.
        log = np.nan_to_num(read) @ (expected / sigma**2).T
        log -= heard @ (expected**2 / (2 * sigma**2)).T
        log += ~heard @ silence.T
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        found[start : start + _CHUNK] = weight @ grid / weight.sum(axis=1, keepdims=True)
    return found


def _grid(area: BufferedConvexHull, stations: Floats) -> Floats:
    """[G, 2] places evenly over the area."""
    step = np.sqrt(area.area / _CELLS)
    low, high = stations.min(axis=0) - area.margin, stations.max(axis=0) + area.margin
    lines = [np.arange(a + step / 2, b, step) for a, b in zip(low, high, strict=True)]
    places = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 2)
    return places[area.contains(places)]
