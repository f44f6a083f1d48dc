"""The weighted mean of network, trees, neighbors and a fitted propagation model.

Members are plain tensors: model files need no pickle, prediction needs no scikit-learn, and exports
contain the same operations. `fit.portfolio` creates them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict, cast

import torch
from torch import Tensor, nn

from training.localization.geometry import SPEED_OF_LIGHT
from training.localization.localizer.features import (
    Signals,
    subtract_emission_time,
    weighted_centroids,
)

# Names in model files and the API, which keep the British spelling that baselines started with.
NETWORK, TREES, NEIGHBORS = "network", "extra_trees", "nearest_neighbours"
POSTERIOR = "fitted_posterior"
VectorKind = Literal["standardized", "strength", "centroids"]
_MIN_SQUARED_DISTANCE = 1e-9
_STARTS = 12


class StoredMember(TypedDict):
    """The metadata of a member in a model file, besides its tensors; the keys never change."""

    weight: float
    refined: NotRequired[bool]  # fitted posterior
    vectors: NotRequired[VectorKind]  # trees and neighbors
    depth: NotRequired[int]  # trees
    neighbors: NotRequired[int]
    weight_by_distance: NotRequired[bool]


class StoredPortfolio(TypedDict):
    members: dict[str, StoredMember]
    spread: bool


class SignalVectors(nn.Module):
    """Maps signals to feature vectors f32 [B, S], for nearest neighbors and trees.

    Kinds: `standardized` has a heard flag, and strength, SNR and arrival time divided by their
    spread; a receiver that heard nothing has its weakest reading. `strength` has strengths in dB
    (with a floor if nothing was heard), arrival times and the positions of mobile receivers.
    `centroids` adds the strengths minus their mean in the sample, and weighted means of the
    positions of the receivers that heard it. `unknown` [S] replaces the values of a receiver out of
    service: its means over the training samples, not the value of a receiver that heard nothing.
    """

    floor: Tensor
    level: Tensor
    scale: Tensor
    unknown: Tensor
    mobile: Tensor
    center: Tensor

    def __init__(self, kind: VectorKind, tensors: dict[str, Tensor]) -> None:
        """`floor` [4, R] replaces absent readings; `level` and `scale` [4, R] normalize heard,
        RSSI, SNR and time. `mobile`: indices of the receivers whose positions are features.
        `center` [2]: origin of positions."""
        super().__init__()
        self.kind = kind
        for name in ("floor", "level", "scale", "unknown", "mobile", "center"):
            self.register_buffer(name, tensors[name])

    def forward(self, signals: Signals) -> Tensor:
        values = self.with_gaps(signals)
        return torch.where(values.isnan(), self.unknown, values)

    def with_gaps(self, signals: Signals) -> Tensor:
        """The vectors, with NaN where a receiver is out of service."""
        has_toa = ~signals.toa.isnan()
        time = subtract_emission_time(signals.toa, has_toa)
        if self.kind == "standardized":
            heard = ~(signals.rssi.isnan() & signals.snr.isnan() & signals.toa.isnan())
            kinds = [heard.float(), signals.rssi, signals.snr, time]
        else:
            kinds = [torch.where(signals.rssi.isnan(), signals.snr, signals.rssi), time]
        blocks = [
            (torch.where(kind.isnan(), self.floor[row], kind) - self.level[row]) / self.scale[row]
            for row, kind in enumerate(kinds)
        ]
        if self.kind == "centroids":
            count = (~kinds[0].isnan()).sum(dim=1, keepdim=True)
            mean = kinds[0].nan_to_num().sum(dim=1, keepdim=True) / count.clamp(min=1)
            blocks.append(blocks[0] - mean)
        gap = torch.full_like(signals.rssi, torch.nan)
        blocks = [torch.where(signals.in_service, block, gap) for block in blocks]
        if self.mobile.numel():
            blocks.append((signals.rx[:, self.mobile, :2] - self.center).flatten(1))
        if self.kind == "centroids":
            position = signals.rx[..., :2] - self.center
            usable = ~(kinds[0].isnan() & signals.toa.isnan()) & ~position[..., 0].isnan()
            blocks.append(weighted_centroids(kinds[0], usable, position.nan_to_num()))
        return torch.cat(blocks, dim=1)


class Member(nn.Module, ABC):
    """Signals to positions f64 [B, 2], in meters from the center of the training samples."""

    def __init__(self, vectors: SignalVectors) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, signals: Signals) -> Tensor:
        return self.locate(self.vectors(signals)).double()

    @abstractmethod
    def locate(self, vectors: Tensor) -> Tensor: ...

    @abstractmethod
    def describe(self) -> StoredMember:
        """The metadata without the weight, which the portfolio stores."""


class Trees(Member):
    """Regression trees as arrays of nodes: `branches` i32 [2, N], `feature` i32, `threshold` f32.

    A leaf is its own child, so that all trees take the same number of steps. `value` f32 [N, 2].
    """

    root: Tensor
    feature: Tensor
    threshold: Tensor
    branches: Tensor
    value: Tensor

    def __init__(self, vectors: SignalVectors, depth: int, tensors: dict[str, Tensor]) -> None:
        super().__init__(vectors)
        self.depth = depth
        for name in ("root", "feature", "threshold", "branches", "value"):
            self.register_buffer(name, tensors[name])

    def locate(self, vectors: Tensor) -> Tensor:
        node = self.root.long().unsqueeze(0).expand(vectors.shape[0], -1)
        for _ in range(self.depth):
            reading = vectors.gather(1, self.feature[node].long())
            goes_left = reading <= self.threshold[node]
            node = torch.where(goes_left, self.branches[0][node], self.branches[1][node]).long()
        return self.value[node].mean(dim=1)

    def describe(self) -> StoredMember:
        return {"weight": 0.0, "vectors": self.vectors.kind, "depth": self.depth}


class Neighbors(Member):
    """The mean position of the k training samples with the most similar signals."""

    known: Tensor
    positions: Tensor

    def __init__(
        self,
        vectors: SignalVectors,
        neighbors: int,
        weight_by_distance: bool,
        tensors: dict[str, Tensor],
    ) -> None:
        super().__init__(vectors)
        self.neighbors, self.weight_by_distance = neighbors, weight_by_distance
        for name in ("known", "positions"):
            self.register_buffer(name, tensors[name])

    def locate(self, vectors: Tensor) -> Tensor:
        squared, nearest = squared_distances(vectors, self.known).topk(
            self.neighbors, dim=1, largest=False
        )
        return self.average(squared, nearest)

    def average(self, squared: Tensor, nearest: Tensor) -> Tensor:
        weight = torch.ones_like(squared)
        if self.weight_by_distance:
            weight = squared.clamp(min=_MIN_SQUARED_DISTANCE).rsqrt()
        weighted = (weight.unsqueeze(-1) * self.positions[nearest]).sum(dim=1)
        return weighted / weight.sum(dim=1, keepdim=True)

    def describe(self) -> StoredMember:
        return {
            "weight": 0.0,
            "vectors": self.vectors.kind,
            "neighbors": self.neighbors,
            "weight_by_distance": self.weight_by_distance,
        }


def squared_distances(vectors: Tensor, known: Tensor) -> Tensor:
    """[B, N]; `torch.cdist` has no ONNX counterpart of the same speed."""
    norms = (known**2).sum(dim=1) + (vectors**2).sum(dim=1, keepdim=True)
    return norms - 2 * vectors @ known.T


class FittedPosterior(nn.Module):
    """The posterior on a grid of positions, given signals and a log-distance path loss model.

    `grid` f32 [G, 2] in meters from the center, `log_prior` [G]; `expected` f32 [G, R] in dB below
    `level` [R], and `log_silent` [G, R], the log probability that nothing is heard. `placed` [R]
    (0 or 1): receivers of known position; the others are ignored. Used if arrival times refine the
    posterior (`refined`): `distance` f32 [G, R], and clock offset [R] and error, in meters.
    """

    grid: Tensor
    step: Tensor
    log_prior: Tensor
    level: Tensor
    expected: Tensor
    log_silent: Tensor
    placed: Tensor
    sigma: Tensor
    distance: Tensor
    clock_offset: Tensor
    clock_sigma: Tensor

    def __init__(self, refined: bool, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.refined = refined
        for name in (
            "grid", "step", "log_prior", "level", "expected", "log_silent", "placed", "sigma",
            "distance", "clock_offset", "clock_sigma",
        ):  # fmt: skip
            self.register_buffer(name, tensors[name])

    def forward(self, signals: Signals) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean [B, 2] in meters from the center, covariance [B, 2, 2], and the starting points
        [B, S, 2] for the refinement; all f64."""
        strength = torch.where(signals.rssi.isnan(), signals.snr, signals.rssi)
        heard = (~strength.isnan()).float() * self.placed
        silent = (strength.isnan() & signals.in_service).float() * self.placed
        relative = (strength - self.level).nan_to_num() * self.placed
        fit = relative @ self.expected.T - heard @ (self.expected**2 / 2).T
        log_density = fit / self.sigma**2 + silent @ self.log_silent.T + self.log_prior
        log_density = log_density.double()
        starts = self._likely_cells(log_density, signals.toa) if self.refined else None
        grid, weight = self.grid.double(), torch.softmax(log_density, dim=1)
        mean = weight @ grid
        outer = (grid.unsqueeze(2) * grid.unsqueeze(1)).flatten(1)  # [G, 4]
        second = (weight @ outer).reshape(-1, 2, 2)
        cell = self.step.double() ** 2 / 12 * torch.eye(2, dtype=mean.dtype, device=mean.device)
        return mean, second - mean.unsqueeze(2) * mean.unsqueeze(1) + cell, starts

    def _likely_cells(self, log_density: Tensor, toa: Tensor) -> Tensor:
        """The cells in which strengths and arrivals together are most likely.

        The error of the arrival times includes the size of a cell, within which they vary.
        """
        valid = (~toa.isnan()).double() * self.placed.double()
        count = valid.sum(dim=1, keepdim=True).clamp(min=1)
        ranges = toa.double().nan_to_num() * (1e-9 * SPEED_OF_LIGHT) - self.clock_offset.double()
        ranges = ranges * valid
        ranges = (ranges - ranges.sum(dim=1, keepdim=True) / count) * valid  # keeps squares small
        distance = self.distance.double()
        squares = (
            ranges.square().sum(dim=1, keepdim=True)
            - 2 * ranges @ distance.T
            + valid @ distance.square().T
        )
        total = ranges.sum(dim=1, keepdim=True) - valid @ distance.T
        variance = self.clock_sigma.double() ** 2 + self.step.double().square().sum() / 4
        joint = log_density - (squares - total.square() / count) / (2 * variance)
        likely = joint.topk(min(_STARTS, self.grid.shape[0]), dim=1).indices
        return self.grid.double()[likely]

    def describe(self) -> StoredMember:
        return {"weight": 0.0, "refined": self.refined}


Refine = Callable[[Tensor, Tensor, Signals, Tensor | None], tuple[Tensor, Tensor]]


class Portfolio(nn.Module):
    """The weighted mean of the network's position and those of the members.

    The covariance is the weighted mean over the members that have one, plus the scatter of the
    positions if `spread`. Members with weight 0 are neither evaluated nor stored.
    """

    center: Tensor

    def __init__(
        self,
        center: Tensor,
        members: Mapping[str, Member | FittedPosterior],
        weights: dict[str, float],
        spread: bool,
    ) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.members = nn.ModuleDict(members)
        self.weights, self.spread = weights, spread

    def forward(
        self, mean: Tensor, covariance: Tensor, signals: Signals, refine: Refine
    ) -> tuple[Tensor, Tensor]:
        positions: list[tuple[Tensor, Tensor | None]] = [(mean, covariance)]
        weights = [self.weights[NETWORK]]
        for name in self.members:
            if self.weights[name] > 0:
                weights.append(self.weights[name])
                positions.append(self.locate(name, signals, refine))
        return combine(positions, weights, self.spread)

    def locate(self, name: str, signals: Signals, refine: Refine) -> tuple[Tensor, Tensor | None]:
        """Positions f64 [B, 2] of one member in meters of the dataset's frame, and covariances."""
        member = self.members[name]
        if not isinstance(member, FittedPosterior):
            return member(signals) + self.center, None
        mean, covariance, starts = member(signals)
        mean = mean + self.center
        if starts is None:
            return mean, covariance
        return refine(mean, covariance, signals, starts + self.center)

    def describe(self) -> StoredPortfolio:
        members: dict[str, StoredMember] = {NETWORK: {"weight": self.weights[NETWORK]}}
        for name, member in self.members.items():
            if self.weights[name] > 0:
                described = cast(Member | FittedPosterior, member).describe()
                members[name] = {**described, "weight": self.weights[name]}
        return {"members": members, "spread": self.spread}

    def stored_tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": tensor
            for name, member in self.members.items()
            if self.weights[name] > 0
            for key, tensor in member.state_dict().items()
        }

    @classmethod
    def load(cls, stored: StoredPortfolio, tensors: dict[str, Tensor], center: Tensor) -> Portfolio:
        members = {
            name: _load_member(member, _under(tensors, name))
            for name, member in stored["members"].items()
            if name != NETWORK
        }
        weights = {name: member["weight"] for name, member in stored["members"].items()}
        return cls(center, members, weights, stored["spread"])


def combine(
    located: Sequence[tuple[Tensor, Tensor | None]], weights: Sequence[float], spread: bool
) -> tuple[Tensor, Tensor]:
    """The weighted mean of positions [B, 2], and its covariance; the network comes first.

    The network's covariance is used if all members with a covariance have weight 0.
    """
    pairs = list(zip(weights, located, strict=True))
    mean = torch.stack([weight * position for weight, (position, _) in pairs]).sum(dim=0)
    known = [(weight, covariance) for weight, (_, covariance) in pairs if covariance is not None]
    total = sum(weight for weight, _ in known)
    pooled = known[0][1]
    if total > 0:
        shares = [weight / total * covariance for weight, covariance in known]
        pooled = torch.stack(shares).sum(dim=0)
    if spread:
        deltas = [(weight, (position - mean).unsqueeze(2)) for weight, (position, _) in pairs]
        scatter = torch.stack([weight * delta @ delta.mT for weight, delta in deltas]).sum(dim=0)
        pooled = pooled + scatter
    return mean, pooled


def _load_member(stored: StoredMember, tensors: dict[str, Tensor]) -> Member | FittedPosterior:
    if "refined" in stored:
        return FittedPosterior(stored["refined"], tensors)
    vectors = SignalVectors(stored["vectors"], _under(tensors, "vectors"))
    if "depth" in stored:
        return Trees(vectors, stored["depth"], tensors)
    return Neighbors(vectors, stored["neighbors"], stored["weight_by_distance"], tensors)


def _under(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
