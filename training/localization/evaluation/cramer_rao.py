"""How well anyone could locate: the Cramér-Rao bound, and the dilution of precision.

Patwari et al. 2003, Relative Location Estimation in Wireless Sensor Networks (signal strength);
Torrieri 1984, Statistical Theory of Passive Location Systems (times, dilution of precision).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.localization.data.dataset import Dataset
from training.localization.geometry import SPEED_OF_LIGHT, Floats, distances
from training.localization.synthetic.propagation import path_loss_exponent_at, received_power_dbm

LARGEST_GDOP = 5.0
_SMALLEST_SHADOWING_DB = 1e-3  # an exact reading would carry infinite information
# Of erfc, highest power first; the relative error is below 1.2e-7 everywhere.
_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
    -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223,
)  # fmt: skip


def position_error_bound(dataset: Dataset, rows: NDArray[np.intp]) -> Floats | None:
    """[n] metres: no unbiased estimator has a smaller RMS error at these places; inf if none can.

    Over all that could be heard there, not the receivers that happened to. None where the physics
    is unknown.
    """
    if dataset.physics is None:
        return None
    return bound_at(dataset.target[rows].astype(float), dataset.rx[rows], dataset.physics)


def bound_at(
    target: Floats, rx: Floats, physics: dict[str, Any], *, strength: bool = True
) -> Floats:
    """The bound at places [n, 2], given receivers [R, 3] or [n, R, 3].

    From signal strengths and, where the physics has a timing error, arrival times; without
    `strength` from the arrival times alone.
    """
    away = distances(target, rx)
    toward = _toward(target, rx)
    sigma = max(physics["shadowing_db"], _SMALLEST_SHADOWING_DB)
    above = (_mean_rssi(away, physics) - _threshold_dbm(physics)) / sigma
    # d(dBm)/d(m) of the log-distance model, in units of the shadowing.
    slope = (
        10
        * path_loss_exponent_at(away, physics["path_loss_exponent"])
        / (math.log(10) * away * sigma)
    )
    information = _sum_outer(toward, strength * slope**2 * censored_information(above))
    if physics["timing_sigma_ns"] is not None:
        metres = physics["timing_sigma_ns"] * 1e-9 * SPEED_OF_LIGHT
        information = information + clockless_information(toward, normal_cdf(above) / metres**2)
    return _root_trace_of_inverse(information)


def censored_information(above: Floats) -> Floats:
    """Fisher information about the mean of a unit normal that is seen only above a threshold.

    `above`: mean less threshold. From 1 (always seen) to 0 (never, and no wonder); below the
    threshold only the silence informs (Amemiya 1973, Regression Analysis When the Dependent
    Variable Is Truncated Normal).
    """
    density = np.exp(-(above**2) / 2) / math.sqrt(2 * math.pi)
    silent = np.maximum(normal_cdf(-above), 1e-300)
    return np.asarray(normal_cdf(above) - above * density + density**2 / silent)


def clockless_information(toward: Floats, weight: Floats) -> Floats:
    """[n, 2, 2] about the place, from arrival times of weight [n, R] in 1/m^2.

    The unknown instant of sending is projected out (Schur complement), which equals using all
    differences.
    """
    total = weight.sum(axis=-1)
    mean = np.einsum("nr,nri->ni", weight, toward)
    lost = mean[:, :, None] * mean[:, None, :] / np.maximum(total, 1e-300)[:, None, None]
    return np.asarray(_sum_outer(toward, weight) - lost)


def dilution_of_precision(target: Floats, rx: Floats, used: NDArray[np.bool_]) -> Floats:
    """[n] position error per unit of range error, the clock unknown; inf where it is undefined.

    2 / sqrt(k) for k receivers evenly around.
    """
    known = used & ~np.isnan(rx[..., 0])
    return _root_trace_of_inverse(clockless_information(_toward(target, rx), known.astype(float)))


@dataclass(frozen=True, slots=True, eq=False)
class GoodGeometry:
    """Where the receivers stand well: `mask` [n], and in words what that means."""

    mask: NDArray[np.bool_]
    definition: str


def good_geometry(dataset: Dataset, rows: NDArray[np.intp]) -> GoodGeometry:
    """Which samples could be located well; none where the places of too few receivers are known."""
    if dataset.physics is not None and dataset.physics["timing_sigma_ns"] is None:
        return _small_bound(dataset, rows, dataset.physics)
    used = dataset.heard[rows] & ~np.isnan(dataset.rx[rows, :, 0])
    dilution = dilution_of_precision(dataset.target[rows].astype(float), dataset.rx[rows], used)
    return GoodGeometry(
        (used.sum(axis=1) >= 4) & (dilution < LARGEST_GDOP),
        "at least 4 receivers of known place heard, and a geometric dilution of precision below "
        f"{LARGEST_GDOP:g}",
    )


def _small_bound(dataset: Dataset, rows: NDArray[np.intp], physics: dict[str, Any]) -> GoodGeometry:
    """Without timing the directions do not tell: strength fades with distance."""

    def bound(rows: NDArray[np.intp]) -> Floats:
        return bound_at(dataset.target[rows].astype(float), dataset.rx[rows], physics)

    threshold = float(np.median(bound(dataset.rows("val"))))
    return GoodGeometry(
        (dataset.heard[rows].sum(axis=1) >= 3) & (bound(rows) <= threshold),
        "at least 3 receivers heard, and a Cramér-Rao bound of at most "
        f"{threshold:,.0f} m, the median of the validation split",
    )


def _toward(target: Floats, rx: Floats) -> Floats:
    """[n, R, 2]: the unit direction from each receiver, seen on the ground; 0 where unknown."""
    away = distances(target, rx)[..., None]
    return np.nan_to_num((target[:, None, :] - rx[..., :2]) / away)


def _mean_rssi(away: Floats, physics: dict[str, Any]) -> Floats:
    transmit, frequency = physics["transmit_dbm"], physics["frequency_mhz"]
    return received_power_dbm(away, transmit, frequency, physics["path_loss_exponent"])


def _threshold_dbm(physics: dict[str, Any]) -> float:
    return float(physics["noise_floor_dbm"] + physics["detection_snr_db"])


def normal_cdf(z: Floats) -> Floats:
    """The share of a unit normal below `z` (Press et al. 1992, Numerical Recipes in C, erfcc)."""
    x = np.asarray(-z, float) / math.sqrt(2)
    size = np.abs(x)
    t = 1 / (1 + size / 2)
    tail = t * np.exp(-(size**2) + np.polyval(_ERFC, t))
    return np.asarray(np.where(x >= 0, tail, 2 - tail) / 2)


def _sum_outer(toward: Floats, weight: Floats) -> Floats:
    return np.asarray(np.einsum("nr,nri,nrj->nij", weight, toward, toward))


def _root_trace_of_inverse(information: Floats) -> Floats:
    """[n, 2, 2] to [n]; inf where it cannot be inverted."""
    trace = information[:, 0, 0] + information[:, 1, 1]
    determinant = (
        information[:, 0, 0] * information[:, 1, 1] - information[:, 0, 1] * information[:, 1, 0]
    )
    singular = determinant <= 1e-12 * trace**2
    return np.where(singular, np.inf, np.sqrt(trace / np.where(singular, 1.0, determinant)))
