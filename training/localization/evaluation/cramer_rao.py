"""Limits of accuracy: the Cramér-Rao bound and the dilution of precision.

Patwari et al. 2003, Relative Location Estimation in Wireless Sensor Networks (signal strength);
Torrieri 1984, Statistical Theory of Passive Location Systems (times, dilution of precision).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.localization.config import Physics
from training.localization.data.dataset import Dataset
from training.localization.geometry import SPEED_OF_LIGHT, Floats, distances
from training.localization.synthetic.propagation import path_loss_exponent_at, received_power_dbm

MAX_GOOD_GDOP = 5.0
_MIN_SHADOWING_DB = 1e-3  # an exact reading would have infinite information
# Coefficients of erfc, highest power first; the relative error is below 1.2e-7 everywhere.
_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
    -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223,
)  # fmt: skip


def position_error_bound(dataset: Dataset, rows: NDArray[np.intp]) -> Floats | None:
    """The lowest RMS error [n] in meters of any unbiased estimator; inf where none exists.

    The expectation is over everything that could be heard at the position, not only the receivers
    that heard this sample. None if the physics is unknown.
    """
    if dataset.physics is None:
        return None
    return bound_at(dataset.target[rows].astype(float), dataset.rx[rows], dataset.physics)


def bound_at(target: Floats, rx: Floats, physics: Physics, *, strength: bool = True) -> Floats:
    """The bound [n] at positions [n, 2], given receivers [R, 3] or [n, R, 3].

    From arrival times if the physics has a timing error, and from signal strengths if `strength`.
    """
    distance = distances(target, rx)
    direction = _unit_directions(target, rx)
    sigma = max(physics["shadowing_db"], _MIN_SHADOWING_DB)
    above = (_mean_rssi(distance, physics) - _threshold_dbm(physics)) / sigma
    # d(dBm)/d(m) of the log-distance model, in units of the shadowing.
    exponent = path_loss_exponent_at(distance, physics["path_loss_exponent"])
    slope = 10 * exponent / (math.log(10) * distance * sigma)
    information = _sum_outer(direction, strength * slope**2 * censored_information(above))
    if physics["timing_sigma_ns"] is not None:
        sigma_m = physics["timing_sigma_ns"] * 1e-9 * SPEED_OF_LIGHT
        weight = normal_cdf(above) / sigma_m**2
        information = information + clockless_information(direction, weight)
    return _root_trace_of_inverse(information)


def censored_information(above: Floats) -> Floats:
    """Fisher information about the mean of a unit normal observed only above a threshold.

    `above`: mean minus threshold. From 1 (always observed) to 0 (never); below the threshold only
    the absence of a signal is informative (Amemiya 1973, Regression Analysis When the Dependent
    Variable Is Truncated Normal).
    """
    density = np.exp(-(above**2) / 2) / math.sqrt(2 * math.pi)
    unobserved = np.maximum(normal_cdf(-above), 1e-300)
    return np.asarray(normal_cdf(above) - above * density + density**2 / unobserved)


def clockless_information(direction: Floats, weight: Floats) -> Floats:
    """Information [n, 2, 2] about the position from arrival times of weight [n, R] in 1/m^2.

    The unknown emission time is eliminated by a Schur complement, which equals using all
    differences of arrivals.
    """
    total = weight.sum(axis=-1)
    mean = np.einsum("nr,nri->ni", weight, direction)
    eliminated = mean[:, :, None] * mean[:, None, :] / np.maximum(total, 1e-300)[:, None, None]
    return np.asarray(_sum_outer(direction, weight) - eliminated)


def dilution_of_precision(target: Floats, rx: Floats, used: NDArray[np.bool_]) -> Floats:
    """Position error [n] per unit of range error, for an unknown clock; inf where undefined.

    2 / sqrt(k) for k receivers evenly around.
    """
    weight = (used & ~np.isnan(rx[..., 0])).astype(float)
    return _root_trace_of_inverse(clockless_information(_unit_directions(target, rx), weight))


@dataclass(frozen=True, slots=True, eq=False)
class GoodGeometry:
    """Which samples [n] have good geometry, and the definition in words."""

    mask: NDArray[np.bool_]
    definition: str


def find_good_geometry(dataset: Dataset, rows: NDArray[np.intp]) -> GoodGeometry:
    """By dilution of precision, or by the bound for synthetic data without arrival times.

    No sample qualifies if the positions of too few receivers are known.
    """
    if dataset.physics is not None and dataset.physics["timing_sigma_ns"] is None:
        return _find_low_bound(dataset, rows, dataset.physics)
    used = dataset.heard[rows] & ~np.isnan(dataset.rx[rows, :, 0])
    dilution = dilution_of_precision(dataset.target[rows].astype(float), dataset.rx[rows], used)
    return GoodGeometry(
        (used.sum(axis=1) >= 4) & (dilution < MAX_GOOD_GDOP),
        "at least 4 receivers of known position, and a geometric dilution of precision below "
        f"{MAX_GOOD_GDOP:g}",
    )


def _find_low_bound(dataset: Dataset, rows: NDArray[np.intp], physics: Physics) -> GoodGeometry:
    # Signal strength fades with distance, so directions alone say little without timing.

    def bound(rows: NDArray[np.intp]) -> Floats:
        return bound_at(dataset.target[rows].astype(float), dataset.rx[rows], physics)

    threshold = float(np.median(bound(dataset.rows("val"))))
    return GoodGeometry(
        (dataset.heard[rows].sum(axis=1) >= 3) & (bound(rows) <= threshold),
        "at least 3 receivers, and a Cramér-Rao bound of at most "
        f"{threshold:,.0f} m, the median of the validation split",
    )


def _unit_directions(target: Floats, rx: Floats) -> Floats:
    """Horizontal components [n, R, 2] of the directions from the receivers; 0 where unknown."""
    distance = distances(target, rx)[..., None]
    return np.nan_to_num((target[:, None, :] - rx[..., :2]) / distance)


def _mean_rssi(distance: Floats, physics: Physics) -> Floats:
    return received_power_dbm(
        distance,
        physics["transmit_dbm"],
        physics["frequency_mhz"],
        physics["path_loss_exponent"],
    )


def _threshold_dbm(physics: Physics) -> float:
    return float(physics["noise_floor_dbm"] + physics["detection_snr_db"])


def normal_cdf(z: Floats) -> Floats:
    """Standard normal distribution function (Press et al. 1992, Numerical Recipes in C, erfcc)."""
    x = np.asarray(-z, float) / math.sqrt(2)
    magnitude = np.abs(x)
    t = 1 / (1 + magnitude / 2)
    tail = t * np.exp(-(magnitude**2) + np.polyval(_ERFC, t))
    return np.asarray(np.where(x >= 0, tail, 2 - tail) / 2)


def _sum_outer(direction: Floats, weight: Floats) -> Floats:
    return np.asarray(np.einsum("nr,nri,nrj->nij", weight, direction, direction))


def _root_trace_of_inverse(information: Floats) -> Floats:
    trace = information[:, 0, 0] + information[:, 1, 1]
    determinant = (
        information[:, 0, 0] * information[:, 1, 1] - information[:, 0, 1] * information[:, 1, 0]
    )
    singular = determinant <= 1e-12 * trace**2
    return np.where(singular, np.inf, np.sqrt(trace / np.where(singular, 1.0, determinant)))
