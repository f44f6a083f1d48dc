"""Position errors in meters, and calibration of the predicted uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from training.localization.geometry import Floats

TWO_PI = 2 * math.pi
_BOOTSTRAP_RESAMPLES = 200
_UPPER_QUANTILE_Z = 1.28  # standard errors: the 90 % quantile of a Gaussian
_MAX_BOOTSTRAP_GROUPS = 20_000  # with more, the sampling error is negligible
_MIN_TEMPERATURE = 1e-6


class ErrorSummary(TypedDict):
    mean_m: float
    rmse_m: float
    median_m: float
    p68_m: float
    p95_m: float


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Gaussians for N positions: mean [N, 2] in meters, covariance [N, 2, 2] in square meters."""

    mean: Floats
    covariance: Floats

    def with_temperature(self, temperature: float) -> Predictions:
        return Predictions(self.mean, self.covariance * temperature)


def position_errors(mean: Floats, target: Floats) -> Floats:
    delta = np.asarray(mean, float) - np.asarray(target, float)
    return np.asarray(np.hypot(delta[:, 0], delta[:, 1]))


def rmse(errors: Floats) -> float | None:
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else None


def error_summary(errors: Floats) -> ErrorSummary:
    median, p68, p95 = np.percentile(errors, [50, 68, 95])
    return {
        "mean_m": float(errors.mean()),
        "rmse_m": float(np.sqrt(np.mean(errors**2))),
        "median_m": float(median),
        "p68_m": float(p68),
        "p95_m": float(p95),
    }


def squared_mahalanobis(predicted: Predictions, target: Floats) -> Floats:
    """Squared errors [N] in units of the predicted covariance; their mean is 2 if it is right."""
    delta = np.asarray(target, float) - predicted.mean
    solved = np.linalg.solve(predicted.covariance, delta[:, :, None])[:, :, 0]
    return np.asarray(np.sum(delta * solved, axis=1))


def negative_log_likelihood(predicted: Predictions, target: Floats) -> float:
    """Mean over N, in nats, of the density per square meter."""
    _, log_det = np.linalg.slogdet(predicted.covariance)
    squared = squared_mahalanobis(predicted, target)
    return float(np.mean(0.5 * (squared + log_det)) + math.log(TWO_PI))


def coverage(predicted: Predictions, target: Floats, level: float) -> float:
    """Fraction of targets inside the ellipse of confidence `level` (chi-squared, 2 d.o.f.)."""
    return float(np.mean(inside_ellipses(predicted, target, level)))


def inside_ellipses(predicted: Predictions, target: Floats, level: float) -> NDArray[np.bool_]:
    radius_squared = mahalanobis_radius_squared(level)
    return np.asarray(squared_mahalanobis(predicted, target) <= radius_squared)


def mahalanobis_radius_squared(level: float) -> float:
    return -2 * math.log(1 - level)


def conformal_temperature(predicted: Predictions, target: Floats, level: float = 0.68) -> float:
    return _conformal_factor(squared_mahalanobis(predicted, target), level)


def conservative_temperature(
    predicted: Predictions, target: Floats, group: NDArray[np.integer], level: float = 0.68
) -> float:
    """`conformal_temperature` for areas outside the data, of which `group` [N] is a sample.

    A few groups may happen to be easy. The result is the upper end of the sampling distribution,
    exceeded in one case of ten, estimated by the bootstrap over groups (Efron 1979). With many
    groups the difference is negligible.
    """
    squared = squared_mahalanobis(predicted, target)
    names, index = np.unique(group, return_inverse=True)
    if len(names) > _MAX_BOOTSTRAP_GROUPS:
        return _conformal_factor(squared, level)
    rng = np.random.default_rng(0)
    uniform = np.full(len(names), 1 / len(names))
    drawn = rng.multinomial(len(names), uniform, _BOOTSTRAP_RESAMPLES)  # [B, groups]
    order = np.argsort(squared)
    weight = np.cumsum(drawn[:, index[order]], axis=1)  # [B, N]
    quantile = np.argmax(weight >= level * weight[:, -1:], axis=1)
    spread = float(np.std(squared[order][quantile]))
    margin = _UPPER_QUANTILE_Z * spread / mahalanobis_radius_squared(level)
    return _conformal_factor(squared, level) + margin


def _conformal_factor(squared: Floats, level: float) -> float:
    """Split conformal prediction in the Mahalanobis norm (Vovk et al. 2005): (n + 1) quantile."""
    rank = min(math.ceil((len(squared) + 1) * level), len(squared)) - 1
    quantile = float(np.sort(squared)[rank])
    return max(quantile / mahalanobis_radius_squared(level), _MIN_TEMPERATURE)


def maximum_likelihood_temperature(predicted: Predictions, target: Floats) -> float:
    return max(float(squared_mahalanobis(predicted, target).mean()) / 2, _MIN_TEMPERATURE)


def validation_metrics(
    predicted: Predictions, target: Floats, good: NDArray[np.bool_]
) -> dict[str, float | None]:
    errors = position_errors(predicted.mean, target)
    summary = error_summary(errors)
    return {
        "val_rmse": summary["rmse_m"],
        "val_mean": summary["mean_m"],
        "val_median": summary["median_m"],
        "val_p68": summary["p68_m"],
        "val_p95": summary["p95_m"],
        "val_rmse_good_geom": rmse(errors[good]),
        "val_good_geom_samples": int(good.sum()),
        "val_nll": negative_log_likelihood(predicted, target),
        "val_coverage_68": coverage(predicted, target, 0.68),
        "val_coverage_95": coverage(predicted, target, 0.95),
    }
