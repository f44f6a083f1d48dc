"""What training minimises: the distance, and the likelihood of where it said it would be."""

from __future__ import annotations

import math

from torch import Tensor

from training.localization.config import LossKind

_SMALLEST = 1e-12  # under the root, whose slope at zero is infinite


def loss(mean: Tensor, factor: Tensor, target: Tensor, kind: LossKind = "distance") -> Tensor:
    """Mean [..., 2], Cholesky factor [..., 2, 2], target [..., 2] to [...], all in units.

    The distance alone moves the mean, the Gaussian likelihood around the detached mean alone
    moves the covariance: a likelihood that moves both buys certainty with error (Seitzer et al.
    2022, On the Pitfalls of Heteroscedastic Uncertainty Estimation). Of kind `squared`, half the
    square of the distance moves the mean.
    """
    squared = ((mean - target) ** 2).sum(dim=-1)
    pull = squared / 2 if kind == "squared" else squared.add(_SMALLEST).sqrt()
    return pull + gaussian_nll(mean.detach(), factor, target)


def gaussian_nll(mean: Tensor, factor: Tensor, target: Tensor) -> Tensor:
    """[...] nats of the density N(mean, factor factor^T) at the target."""
    away = target - mean
    # Forward substitution, written out: a solver for 2 by 2 costs a multiple.
    first = away[..., 0] / factor[..., 0, 0]
    second = (away[..., 1] - factor[..., 1, 0] * first) / factor[..., 1, 1]
    log_det: Tensor = factor[..., 0, 0].log() + factor[..., 1, 1].log()
    return 0.5 * (first**2 + second**2) + log_det + math.log(2 * math.pi)
