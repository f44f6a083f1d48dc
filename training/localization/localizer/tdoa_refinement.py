"""Refine a position with arrival times, with the network's Gaussian as prior.

A network learns the intersection of hyperbolas to about a kilometer; the equations determine it to
the error of the clocks (Foy 1976, Position-Location Solutions by Taylor-Series Estimation, with a
prior and damping). Hyperbolas may intersect twice, and the network is sometimes far off. So the
prior has the tails of a Student t (Lange, Little, Taylor 1989), and every intersection found
counts with its probability. Arrivals that contradict each other fit best at an arbitrary distance,
where hyperbolas are nearly parallel: intersections outside the area of the samples do not count.

Tensors inside have the samples last: sums over receivers then run along contiguous memory, which is
three times as fast as batches of small matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ITERATIONS = 6
_INITIAL_DAMPING = 1e-3
_START_DISTANCE = 3.0  # standard deviations from the prior's mean to the other starting points
# The prior is (1 + m^2/6)^-3 in the Mahalanobis distance m: a Student t of 4 degrees of freedom,
# whose curvature at the mean equals that of the network's Gaussian.
_PRIOR_TAIL = 6.0
_EXCLUDED_COST = 1e12  # above any that arrivals can have


class Area(NamedTuple):
    """Where transmitters can be: `center` [2] and radius, in meters."""

    center: Tensor
    radius_m: float


class Arrivals(NamedTuple):
    """pseudorange [B, R] and receiver position [B, R, 3] in meters, valid bool [B, R].

    The pseudoranges of a sample have an arbitrary common offset: the emission time is unknown.
    """

    pseudorange: Tensor
    position: Tensor
    valid: Tensor


class _SymmetricMatrix(NamedTuple):
    """Symmetric 2 x 2 matrices, as one tensor for each element."""

    ee: Tensor
    en: Tensor
    nn: Tensor

    @property
    def determinant(self) -> Tensor:
        return self.ee * self.nn - self.en**2

    @property
    def inverse(self) -> _SymmetricMatrix:
        # In closed form: the same on every device and in every exported format.
        determinant = self.determinant
        return _SymmetricMatrix(
            self.nn / determinant, -self.en / determinant, self.ee / determinant
        )

    def multiply(self, vector: Tensor) -> Tensor:
        east, north = vector
        return torch.stack([self.ee * east + self.en * north, self.en * east + self.nn * north])


class _Linearization(NamedTuple):
    """The posterior near `position` [2, S, B], for S starting points of B samples.

    `cost` [S, B] is twice the negative log density, up to a constant; `descent` [2, S, B] is half
    its negative gradient; `information` is the Gauss-Newton approximation of half its Hessian.
    """

    position: Tensor
    information: _SymmetricMatrix
    descent: Tensor
    cost: Tensor


class _Posterior(NamedTuple):
    """Arrivals: pseudorange [R, 1, B], receiver [3, R, 1, B]; prior: mean [2, 1, B], precision.

    `weight` [R, 1, B] is one over the standard deviation, `mean_weight` [R, 1, B] the weight of
    each arrival in their mean; both are 0 where nothing arrived.
    """

    pseudorange: Tensor
    receiver: Tensor
    weight: Tensor
    mean_weight: Tensor
    mean: Tensor
    precision: _SymmetricMatrix

    def linearize(self, position: Tensor) -> _Linearization:
        delta = position.unsqueeze(1) - self.receiver[:2]  # [2, R, S, B]
        distance = (delta.square().sum(dim=0) + self.receiver[2].square()).clamp(min=1.0).sqrt()
        east, north = self._subtract_emission_time(delta / distance)
        residual = self._subtract_emission_time(self.pseudorange - distance)
        to_mean = self.mean - position
        pull = self.precision.multiply(to_mean)
        squared = (to_mean * pull).sum(dim=0)
        # The weight of a Student t prior falls with the distance from its mean.
        prior_weight = 1 / (1 + squared / _PRIOR_TAIL)
        information = _SymmetricMatrix(
            (east * east).sum(dim=0) + prior_weight * self.precision.ee,
            (east * north).sum(dim=0) + prior_weight * self.precision.en,
            (north * north).sum(dim=0) + prior_weight * self.precision.nn,
        )
        gradient = torch.stack([(east * residual).sum(dim=0), (north * residual).sum(dim=0)])
        descent = gradient + prior_weight * pull
        cost = residual.square().sum(dim=0) + _PRIOR_TAIL * torch.log1p(squared / _PRIOR_TAIL)
        return _Linearization(position, information, descent, cost)

    def _subtract_emission_time(self, x: Tensor) -> Tensor:
        # [..., R, S, B] minus its mean over the arrivals, in units of the standard deviation.
        return (x - (x * self.mean_weight).sum(dim=-3, keepdim=True)) * self.weight


def refine_positions(
    mean: Tensor,
    covariance: Tensor,
    arrivals: Arrivals,
    sigma: Tensor,
    area: Area,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Update mean [B, 2] and covariance [B, 2, 2] in meters with arrivals of error `sigma`.

    Both stay as they are if the arrivals fit no position inside `area`. `starts` [B, S, 2]: more
    points to start from. All tensors are float64.
    """
    prior = _SymmetricMatrix(covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1])
    valid = arrivals.valid.T.unsqueeze(1).to(mean.dtype).contiguous()
    posterior = _Posterior(
        pseudorange=arrivals.pseudorange.T.unsqueeze(1).contiguous(),
        receiver=arrivals.position.permute(2, 1, 0).unsqueeze(2).contiguous(),
        weight=valid / sigma,
        mean_weight=valid / valid.sum(dim=0).clamp(min=1.0),
        mean=mean.T.unsqueeze(1).contiguous(),
        precision=_SymmetricMatrix(*(entry.unsqueeze(0) for entry in prior.inverse)),
    )
    first = posterior.mean + _starting_offsets(prior)
    if starts is not None:
        first = torch.cat([first, starts.permute(2, 1, 0)], dim=1)
    modes = _minimize(posterior, first)
    return _mix_modes(_exclude_outside(modes, posterior, area))


def _starting_offsets(prior: _SymmetricMatrix) -> Tensor:
    """[2, S, B]: the prior's mean, and points in both directions along its Cholesky factor."""
    east = prior.ee.sqrt()
    north = (prior.determinant / prior.ee).clamp(min=0).sqrt()
    zero = torch.zeros_like(east)
    first = torch.stack([east, prior.en / east]) * _START_DISTANCE
    second = torch.stack([zero, north]) * _START_DISTANCE
    return torch.stack([torch.zeros_like(first), first, -first, second, -second], dim=1)


def _minimize(posterior: _Posterior, starts: Tensor) -> _Linearization:
    """Levenberg-Marquardt from each start, each with its own damping.

    A step that does not lower the cost is rejected.
    """
    current = posterior.linearize(starts)
    damping = torch.full_like(current.cost, _INITIAL_DAMPING)
    for _ in range(_ITERATIONS):
        ee, en, nn = current.information
        damped = _SymmetricMatrix(ee * (1 + damping), en, nn * (1 + damping))
        step = damped.inverse.multiply(current.descent)
        candidate = posterior.linearize(current.position + step)
        better = candidate.cost < current.cost
        current = _Linearization(
            torch.where(better, candidate.position, current.position),
            _SymmetricMatrix(
                *(
                    torch.where(better, new, old)
                    for new, old in zip(candidate.information, current.information, strict=True)
                )
            ),
            torch.where(better, candidate.descent, current.descent),
            torch.where(better, candidate.cost, current.cost),
        )
        damping = torch.where(better, damping / 4, damping * 6).clamp(1e-9, 1e9)
    return current


def _exclude_outside(modes: _Linearization, prior: _Posterior, area: Area) -> _Linearization:
    """The prior, with a cost that counts only beside others like it, for modes outside `area`."""
    from_center = modes.position - area.center[:, None, None]
    is_outside = from_center.square().sum(dim=0) > area.radius_m**2
    return _Linearization(
        torch.where(is_outside, prior.mean, modes.position),
        _SymmetricMatrix(
            *(
                torch.where(is_outside, of_prior, of_mode)
                for of_prior, of_mode in zip(prior.precision, modes.information, strict=True)
            )
        ),
        modes.descent,
        torch.where(is_outside, torch.full_like(modes.cost, _EXCLUDED_COST), modes.cost),
    )


def _mix_modes(modes: _Linearization) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the mixture of Gaussians at the modes, by Laplace's approximation.

    Tierney, Kadane 1986. Starts that converged to the same mode count once.
    """
    position, information = modes.position, modes.information
    delta = position.unsqueeze(1) - position.unsqueeze(2)  # [2, S, S, B]
    same_mode = (delta * information.multiply(delta)).sum(dim=0) < 1
    multiplicity = same_mode.to(position.dtype).sum(dim=1)
    log_mass = -0.5 * (modes.cost + information.determinant.log()) - multiplicity.log()
    weight = torch.softmax(log_mass, dim=0)  # [S, B]
    mean = (weight * position).sum(dim=1)
    east, north = position - mean.unsqueeze(1)
    ee, en, nn = information.inverse
    covariance = [
        (weight * product).sum(dim=0)
        for product in (ee + east * east, en + east * north, nn + north * north)
    ]
    stacked = torch.stack([covariance[0], covariance[1], covariance[1], covariance[2]], dim=1)
    return mean.T, stacked.reshape(-1, 2, 2)
