"""The training loss: a distance plus the likelihood of the predicted Gaussian."""

from __future__ import annotations

import math

from torch import Tensor

from training.localization.config import LossKind

_EPSILON = 1e-12  # under the root, whose slope at zero is infinite


def loss(mean: Tensor, factor: Tensor, target: Tensor, kind: LossKind = "distance") -> Tensor:
    """Mean [..., 2], Cholesky factor [..., 2, 2], target [..., 2] to [...], all in units.

    Only the distance (`squared`: half its square) trains the mean; only the Gaussian likelihood
    around the detached mean trains the covariance. A likelihood that trains both accepts larger
    errors where the covariance is large (Seitzer et al. 2022, On the Pitfalls of Heteroscedastic
    Uncertainty Estimation).
    """
    squared = ((mean - target) ** 2).sum(dim=-1)
    error = squared / 2 if kind == "squared" else squared.add(_EPSILON).sqrt()
    return error + gaussian_nll(mean.detach(), factor, target)


def gaussian_nll(mean: Tensor, factor: Tensor, target: Tensor) -> Tensor:
    """Negative log density [...] in nats of N(mean, factor factor^T) at the target."""
    delta = target - mean
    # Forward substitution by hand: a general solver is several times slower for 2 x 2.
    first = delta[..., 0] / factor[..., 0, 0]
    second = (delta[..., 1] - factor[..., 1, 0] * first) / factor[..., 1, 1]
    log_det: Tensor = factor[..., 0, 0].log() + factor[..., 1, 1].log()
    return 0.5 * (first**2 + second**2) + log_det + math.log(2 * math.pi)
