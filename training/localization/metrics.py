"""How far off, and how honestly so: position errors in metres, and calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.localization.geometry import Floats

TWO_PI = 2 * math.pi
_RESAMPLES = 200
_CAUTION = 1.28  # standard errors
_MANY = 20_000  # groups, of which nothing is left to chance


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """A Gaussian for each of N places: mean [N, 2] metres, covariance [N, 2, 2] square metres."""

    mean: Floats
    covariance: Floats

    def tempered(self, temperature: float) -> Predictions:
        """The same means, less (> 1: less) sure of them."""
        return Predictions(self.mean, self.covariance * temperature)


def position_errors(mean: Floats, target: Floats) -> Floats:
    """[N] metres between [N, 2] and [N, 2]."""
    away = np.asarray(mean, float) - np.asarray(target, float)
    return np.asarray(np.hypot(away[:, 0], away[:, 1]))


def rmse(errors: Floats) -> float | None:
    """Root of the mean squared error over all samples; None where there are none."""
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else None


def error_summary(errors: Floats) -> dict[str, float]:
    """Metres, of at least one error."""
    median, p68, p95 = np.percentile(errors, [50, 68, 95])
    return {
        "mean_m": float(errors.mean()),
        "rmse_m": float(np.sqrt(np.mean(errors**2))),
        "median_m": float(median),
        "p68_m": float(p68),
        "p95_m": float(p95),
    }


def squared_mahalanobis(predicted: Predictions, target: Floats) -> Floats:
    """[N]: the squared error in units of what was said; of mean 2 where that is true."""
    away = np.asarray(target, float) - predicted.mean
    solved = np.linalg.solve(predicted.covariance, away[:, :, None])[:, :, 0]
    return np.asarray(np.sum(away * solved, axis=1))


def negative_log_likelihood(predicted: Predictions, target: Floats) -> float:
    """Mean over N, in nats, of the density per square metre."""
    _, log_det = np.linalg.slogdet(predicted.covariance)
    squared = squared_mahalanobis(predicted, target)
    return float(np.mean(0.5 * (squared + log_det)) + math.log(TWO_PI))


def coverage(predicted: Predictions, target: Floats, share: float) -> float:
    """How many lie inside the ellipse that should hold `share` of them (chi-squared, 2 d.o.f.)."""
    return float(
        np.mean(squared_mahalanobis(predicted, target) <= mahalanobis_radius_squared(share))
    )


def mahalanobis_radius_squared(share: float) -> float:
    """The squared Mahalanobis radius that holds `share` of a plane Gaussian."""
    return -2 * math.log(1 - share)


def temperature(predicted: Predictions, target: Floats, share: float = 0.68) -> float:
    """The factor on the covariance with which `share` of these places is covered."""
    return _factor(squared_mahalanobis(predicted, target), share)


def conservative_temperature(
    predicted: Predictions, target: Floats, group: NDArray[np.integer], share: float = 0.68
) -> float:
    """The same for ground not seen yet, of which these groups [N] are a sample.

    A few squares may happen to be easy ground. So the upper end of what they can mean is taken,
    which is passed in one case of ten: by the bootstrap over groups (Efron 1979). With many
    groups that is next to nothing.
    """
    squared = squared_mahalanobis(predicted, target)
    names, index = np.unique(group, return_inverse=True)
    if len(names) > _MANY:
        return _factor(squared, share)
    draw = np.random.default_rng(0)
    even = np.full(len(names), 1 / len(names))
    drawn = draw.multinomial(len(names), even, _RESAMPLES)  # [B, groups]
    order = np.argsort(squared)
    weight = np.cumsum(drawn[:, index[order]], axis=1)  # [B, N]
    place = np.argmax(weight >= share * weight[:, -1:], axis=1)
    spread = float(np.std(squared[order][place]))
    return _factor(squared, share) + _CAUTION * spread / mahalanobis_radius_squared(share)


def _factor(squared: Floats, share: float) -> float:
    """Split conformal in the Mahalanobis norm (Vovk et al. 2005): the (n + 1) share-quantile."""
    rank = min(math.ceil((len(squared) + 1) * share), len(squared)) - 1
    return max(float(np.sort(squared)[rank]) / mahalanobis_radius_squared(share), 1e-6)


def maximum_likelihood_temperature(predicted: Predictions, target: Floats) -> float:
    """The factor on the covariance with which these places are likeliest, in closed form."""
    return max(float(squared_mahalanobis(predicted, target).mean()) / 2, 1e-6)


def validation_metrics(
    predicted: Predictions, target: Floats, good: NDArray[np.bool_]
) -> dict[str, float | None]:
    """What an epoch reports of its validation split; `good` marks good geometry [N]."""
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
