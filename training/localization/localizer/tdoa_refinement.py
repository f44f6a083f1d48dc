"""The last step where arrival times are known: the network's answer as prior, Gauss-Newton on it.

A network learns a hyperbola's crossing to a kilometre; the equations know it to the clock's error
(Foy 1976, Position-Location Solutions by Taylor-Series Estimation, with a prior and damping).
Hyperbolas may cross twice, and now and then a network is far off: so the prior has a Student t's
tails (Lange, Little, Taylor 1989), and every crossing that is found counts by its probability.

Inside, the samples come last: a sum over receivers then runs along whole rows of memory, which is
three times as fast as thousands of little matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ROUNDS = 6
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


class _Symmetric(NamedTuple):
    """A symmetric 2 x 2 matrix for each of many places."""

    ee: Tensor
    en: Tensor
    nn: Tensor

    @property
    def det(self) -> Tensor:
        return self.ee * self.nn - self.en**2

    @property
    def inverse(self) -> _Symmetric:
        """In closed form: the same on every device and in every exported format."""
        det = self.det
        return _Symmetric(self.nn / det, -self.en / det, self.ee / det)

    def times(self, vector: Tensor) -> Tensor:
        """[2, ...]"""
        east, north = vector
        return torch.stack([self.ee * east + self.en * north, self.en * east + self.nn * north])


class _Fit(NamedTuple):
    """The posterior about a place [2, S, B]: information, downward slope [2, S, B] and cost [S, B].

    The cost is twice the negative logarithm of the density, but for a constant.
    """

    place: Tensor
    information: _Symmetric
    slope: Tensor
    cost: Tensor


class _Problem(NamedTuple):
    """range [R, 1, B] and place [3, R, 1, B] of the arrivals; the prior [2, 1, B] and [1, B].

    weight [R, 1, B] is one over the error, share [R, 1, B] what each adds to a mean over them; both
    are zero where nothing arrived.
    """

    range: Tensor
    place: Tensor
    weight: Tensor
    share: Tensor
    mean: Tensor
    prior: _Symmetric

    def fit(self, place: Tensor) -> _Fit:
        """Linearised at `place` [2, S, B]."""
        away = place.unsqueeze(1) - self.place[:2]  # [2, R, S, B]
        distance = (away.square().sum(dim=0) + self.place[2].square()).clamp(min=1.0).sqrt()
        east, north = self._without_instant(away / distance)
        left = self._without_instant(self.range - distance)
        off = self.mean - place
        pull = self.prior.times(off)
        squared = (off * pull).sum(dim=0)
        # The farther from the prior, the less it counts.
        trust = 1 / (1 + squared / _TAIL)
        information = _Symmetric(
            (east * east).sum(dim=0) + trust * self.prior.ee,
            (east * north).sum(dim=0) + trust * self.prior.en,
            (north * north).sum(dim=0) + trust * self.prior.nn,
        )
        slope = torch.stack([(east * left).sum(dim=0), (north * left).sum(dim=0)]) + trust * pull
        cost = left.square().sum(dim=0) + _TAIL * torch.log1p(squared / _TAIL)
        return _Fit(place, information, slope, cost)

    def _without_instant(self, x: Tensor) -> Tensor:
        """[..., R, S, B] less its mean, which is what the unknown instant of sending amounts to."""
        return (x - (x * self.share).sum(dim=-3, keepdim=True)) * self.weight


def refine_positions(
    mean: Tensor, covariance: Tensor, arrivals: Arrivals, sigma: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean [B, 2] and covariance [B, 2, 2] in metres, sharpened by arrival times of error `sigma`.

    All in doubles.
    """
    spread = _Symmetric(covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1])
    used = arrivals.used.T.unsqueeze(1).to(mean.dtype).contiguous()
    problem = _Problem(
        range=arrivals.range.T.unsqueeze(1).contiguous(),
        place=arrivals.place.permute(2, 1, 0).unsqueeze(2).contiguous(),
        weight=used / sigma,
        share=used / used.sum(dim=0).clamp(min=1.0),
        mean=mean.T.unsqueeze(1).contiguous(),
        prior=_Symmetric(*(one.unsqueeze(0) for one in spread.inverse)),
    )
    return _mixed(_descend(problem, problem.mean + _offsets(spread)))


def _offsets(spread: _Symmetric) -> Tensor:
    """[2, S, B]: from the prior's middle to itself, and to places along its axes."""
    east = spread.ee.sqrt()
    north = (spread.det / spread.ee).clamp(min=0).sqrt()
    none = torch.zeros_like(east)
    one = torch.stack([east, spread.en / east]) * _SPREAD
    other = torch.stack([none, north]) * _SPREAD
    return torch.stack([torch.zeros_like(one), one, -one, other, -other], dim=1)


def _descend(problem: _Problem, starts: Tensor) -> _Fit:
    """Levenberg-Marquardt: the lowest place from each start.

    Each has a damping of its own, and no step is taken that does not lead down.
    """
    found = problem.fit(starts)
    damping = torch.full_like(found.cost, _DAMPING)
    for _ in range(_ROUNDS):
        ee, en, nn = found.information
        damped = _Symmetric(ee * (1 + damping), en, nn * (1 + damping))
        tried = problem.fit(found.place + damped.inverse.times(found.slope))
        better = tried.cost < found.cost
        found = _Fit(
            torch.where(better, tried.place, found.place),
            _Symmetric(
                *(
                    torch.where(better, new, old)
                    for new, old in zip(tried.information, found.information, strict=True)
                )
            ),
            torch.where(better, tried.slope, found.slope),
            torch.where(better, tried.cost, found.cost),
        )
        damping = torch.where(better, damping / 4, damping * 6).clamp(1e-9, 1e9)
    return found


def _mixed(found: _Fit) -> tuple[Tensor, Tensor]:
    """Mean and covariance over what was found: each a Gaussian, as probable as it holds.

    Laplace's approximation (Tierney, Kadane 1986). Starts that end in one place count once.
    """
    place, information = found.place, found.information
    apart = place.unsqueeze(1) - place.unsqueeze(2)  # [2, S, S, B]
    again = ((apart * information.times(apart)).sum(dim=0) < 1).to(place.dtype).sum(dim=1)
    likely = -0.5 * (found.cost + information.det.log()) - again.log()
    share = torch.softmax(likely, dim=0)  # [S, B]
    mean = (share * place).sum(dim=1)
    east, north = place - mean.unsqueeze(1)
    ee, en, nn = information.inverse
    spread = [
        (share * one).sum(dim=0)
        for one in (ee + east * east, en + east * north, nn + north * north)
    ]
    covariance = torch.stack([spread[0], spread[1], spread[1], spread[2]], dim=1)
    return mean.T, covariance.reshape(-1, 2, 2)
