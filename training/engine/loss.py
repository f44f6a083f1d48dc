"""What training minimises: the distance, and the likelihood of where it said it would be."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SMALLEST = 1e-12  # under the root, whose slope at zero is infinite


def loss(mean: Tensor, factor: Tensor, target: Tensor) -> Tensor:
    """Mean [B, 2], Cholesky factor [B, 2, 2], target [B, 2] to [B], all in units.

    The distance alone moves the mean, the Gaussian likelihood around the detached mean alone
    moves the covariance: a likelihood that moves both buys certainty with error (Seitzer et al.
    2022, On the Pitfalls of Heteroscedastic Uncertainty Estimation).
    """
    distance = ((mean - target) ** 2).sum(dim=1).add(_SMALLEST).sqrt()
    return distance + gaussian_nll(mean.detach(), factor, target)


def gaussian_nll(mean: Tensor, factor: Tensor, target: Tensor) -> Tensor:
    """[B] nats of the density N(mean, factor factor^T) at the target."""
    away = (target - mean).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(factor, away, upper=False).squeeze(-1)
    log_det = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    squared: Tensor = (whitened**2).sum(dim=1)
    return 0.5 * squared + log_det + math.log(2 * math.pi)
