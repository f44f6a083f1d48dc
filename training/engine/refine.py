"""The last step where arrival times are known: the network's answer as prior, Gauss-Newton on it.

A network learns a hyperbola's crossing to a kilometre; the equations know it to the clock's error
(Foy 1976, Position-Location Solutions by Taylor-Series Estimation, with a prior and damping).
Hyperbolas may cross twice, and now and then a network is far off: so the prior has a Student t's
tails (Lange, Little, Taylor 1989), and every crossing that is found counts by its probability.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ROUNDS = 8
_DAMPING = 1e-3
_SPREAD = 3.0  # standard deviations from the prior's middle to the starts around it
# The prior is (1 + m²/6)^-3 in the Mahalanobis distance m: a t of 4 degrees of freedom, in the
# middle as curved as the network's Gaussian.
_TAIL = 6.0


class Arrivals(NamedTuple):
    """range [B, R] metres (from any instant), place [B, R, 3] metres, used bool [B, R]."""

    range: Tensor
    place: Tensor
    used: Tensor


def refine(
    mean: Tensor, covariance: Tensor, arrivals: Arrivals, sigma: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean [B, 2] and covariance [B, 2, 2] in metres, sharpened by arrival times of error `sigma`.

    All in doubles.
    """
    starts = mean + _offsets(covariance)  # [S, B, 2]
    each = starts.shape[0]
    place, information, cost = _descend(
        starts.flatten(0, 1),
        mean.repeat(each, 1),
        _inverse(covariance).repeat(each, 1, 1),
        Arrivals(*(one.repeat(each, *(1,) * (one.ndim - 1)) for one in arrivals)),
        sigma,
    )
    return _mixed(
        place.reshape(starts.shape),
        information.reshape(each, -1, 2, 2),
        cost.reshape(each, -1),
    )


def _offsets(covariance: Tensor) -> Tensor:
    """[S, B, 2]: from the prior's middle to itself, and to places along its axes."""
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    east = a.sqrt()
    shear, north = b / east, (c - b * b / a).clamp(min=0).sqrt()
    one = torch.stack([east, shear], dim=1) * _SPREAD
    other = torch.stack([torch.zeros_like(north), north], dim=1) * _SPREAD
    return torch.stack([torch.zeros_like(one), one, -one, other, -other])


def _descend(
    place: Tensor, mean: Tensor, prior: Tensor, arrivals: Arrivals, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Levenberg-Marquardt: the lowest place, and information and cost there.

    Each sample has a damping of its own, and no step is taken that does not lead down.
    """
    damping = torch.full_like(place[:, 0], _DAMPING)
    diagonal = torch.eye(2, dtype=place.dtype, device=place.device)
    information, slope, cost = _linearised(place, mean, prior, arrivals, sigma)
    for _ in range(_ROUNDS):
        damped = information * (1 + damping[:, None, None] * diagonal)
        tried = place + (_inverse(damped) @ slope.unsqueeze(-1)).squeeze(-1)
        at_tried = _linearised(tried, mean, prior, arrivals, sigma)
        better = at_tried[2] < cost
        place = torch.where(better.unsqueeze(1), tried, place)
        information = torch.where(better[:, None, None], at_tried[0], information)
        slope = torch.where(better.unsqueeze(1), at_tried[1], slope)
        cost = torch.where(better, at_tried[2], cost)
        damping = torch.where(better, damping / 4, damping * 6).clamp(1e-9, 1e9)
    return place, information, cost


def _linearised(
    place: Tensor, mean: Tensor, prior: Tensor, arrivals: Arrivals, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Information [B, 2, 2], downward slope [B, 2] and cost [B] of the posterior at `place`.

    The cost is twice the negative logarithm of the density, but for a constant.
    """
    away = place.unsqueeze(1) - arrivals.place[..., :2]  # [B, R, 2]
    rise = arrivals.place[..., 2]
    distance = ((away**2).sum(dim=-1) + rise**2).clamp(min=1.0).sqrt()
    weight = arrivals.used.to(place.dtype)
    count = weight.sum(dim=1, keepdim=True).clamp(min=1.0)

    def without_instant(x: Tensor) -> Tensor:
        """Each row less its mean, which is what the unknown instant of sending amounts to."""
        mean_of = (x * weight.unsqueeze(-1)).sum(dim=1, keepdim=True) / count.unsqueeze(-1)
        return (x - mean_of) * weight.unsqueeze(-1)

    toward = without_instant(away / distance.unsqueeze(-1)) / sigma
    left = without_instant((arrivals.range - distance).unsqueeze(-1)).squeeze(-1) / sigma
    off = (mean - place).unsqueeze(-1)
    pull = (prior @ off).squeeze(-1)
    squared = (off.squeeze(-1) * pull).sum(dim=1)
    # The farther from the prior, the less it counts.
    trust = 1 / (1 + squared / _TAIL)
    slope = (toward * left.unsqueeze(-1)).sum(dim=1) + trust.unsqueeze(1) * pull
    cost = (left**2).sum(dim=1) + _TAIL * torch.log1p(squared / _TAIL)
    return toward.mT @ toward + trust[:, None, None] * prior, slope, cost


def _mixed(place: Tensor, information: Tensor, cost: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance over what was found [S, B]: each a Gaussian, as probable as it holds.

    Laplace's approximation (Tierney, Kadane 1986). Starts that end in one place count once.
    """
    apart = (place.unsqueeze(0) - place.unsqueeze(1)).unsqueeze(-1)  # [S, S, B, 2, 1]
    distance = (apart.mT @ information @ apart).flatten(2)
    again = (distance < 1).to(place.dtype).sum(dim=1)
    volume = information[..., 0, 0] * information[..., 1, 1] - information[..., 0, 1] ** 2
    share = torch.softmax(-0.5 * (cost + volume.log()) - again.log(), dim=0)  # [S, B]
    mean = (share.unsqueeze(-1) * place).sum(dim=0)
    off = (place - mean).unsqueeze(-1)
    spread = _inverse(information.flatten(0, 1)).reshape(information.shape) + off @ off.mT
    return mean, (share[..., None, None] * spread).sum(dim=0)


def _inverse(matrix: Tensor) -> Tensor:
    """[B, 2, 2], in closed form: the same on every device and in every exported format."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    rows = torch.stack([d, -b, -c, a], dim=1).reshape(-1, 2, 2)
    return rows / (a * d - b * c)[:, None, None]
