"""Fit the other members to a trained network, and choose weights on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.localization import metrics
from training.localization.data.dataset import Dataset
from training.localization.data.splits import independent_groups
from training.localization.evaluation.cramer_rao import normal_cdf
from training.localization.evaluation.maximum_likelihood import PathLossModel
from training.localization.geometry import Floats, distances
from training.localization.localizer.features import Signals
from training.localization.localizer.localizer import BATCH, Localizer
from training.localization.localizer.portfolio import (
    NEIGHBORS,
    NETWORK,
    POSTERIOR,
    TREES,
    FittedPosterior,
    Neighbors,
    Portfolio,
    SignalVectors,
    Trees,
    VectorKind,
    combine,
    squared_distances,
)
from training.localization.metrics import Predictions

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

_MIN_TRAIN_SAMPLES = 50
_MIN_VAL_SAMPLES = 10
_BELOW_WEAKEST_DB = 5.0
_MAX_SELECTION_SAMPLES = 4096  # of either split, to choose settings
# Bounds of the size of a model: 20 bytes per node, 4 per cell.
_MAX_NODES, _MAX_NEIGHBOR_CELLS, _MAX_NEIGHBORS = 1_000_000, 8_000_000, 20_000
_GRID_POINTS = 48  # along each side
_MAX_PROPAGATION_SAMPLES = 3000
_MIN_DENSITY, _MIN_SILENT_PROBABILITY = 1e-4, 1e-6
_TREES, _MAX_DEPTH = 150, 40
_LEAF_SIZES, _FEATURE_SHARES = (1, 3), (1.0, 0.4)
_SELECTION_TREES = 40
_MAX_SELECTION_CELLS = 500_000  # samples x columns of the training split, to choose these
_NEIGHBOR_COUNTS = (1, 2, 3, 5, 8, 13, 21, 34)
_WEIGHT_STEPS = 20  # weights are multiples of a twentieth in each resample
_RESAMPLES, _MAX_GROUPS = 200, 1000  # more groups are merged, which keeps them independent
_MIN_WEIGHT = 0.03  # less is not worth the time that the member takes

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of the dataset with their positions f64 [n, 2] from the center of the training split."""

    dataset: Dataset
    rows: Rows
    target: Floats

    @classmethod
    def take(cls, dataset: Dataset, rows: Rows, center: Floats) -> Split:
        return cls(dataset, rows, dataset.target[rows].astype(float) - center)

    def take_rows(self, kept: Rows) -> Split:
        return Split(self.dataset, self.rows[kept], self.target[kept])

    def subsample(self, count: int) -> Split:
        return self.take_rows(_choose(len(self.rows), count))

    def batches(self, device: torch.device) -> Iterator[Signals]:
        for start in range(0, len(self.rows), BATCH):
            signals = Signals.from_dataset(self.dataset, self.rows[start : start + BATCH])
            yield Signals(*(signal.to(device) for signal in signals))


def _choose(total: int, count: int) -> Rows:
    """At most `count` of the indices below `total`, in order."""
    if total <= count:
        return np.arange(total)
    return np.sort(np.random.default_rng(0).choice(total, count, replace=False))


@torch.no_grad()
def fit_portfolio(
    localizer: Localizer,
    dataset: Dataset,
    network: Predictions,
    seed: int,
    check: Callable[[], None] = lambda: None,
) -> Portfolio | None:
    """Fit all members; `network` has the network's predictions for the validation split.

    None if there are too few samples to fit members or to choose weights. `check` is called between
    the steps, and may raise.
    """
    device, center = localizer.center.device, localizer.center.cpu().numpy()
    train, val = (Split.take(dataset, dataset.rows(split), center) for split in ("train", "val"))
    if len(train.rows) < _MIN_TRAIN_SAMPLES or len(val.rows) < _MIN_VAL_SAMPLES:
        return None
    kept = _choose(len(val.rows), _MAX_SELECTION_SAMPLES)
    val = val.take_rows(kept)
    check()
    fitted = {
        TREES: _fit_trees(localizer, train, val, seed, check),
        NEIGHBORS: _fit_neighbors(localizer, train, val, check),
        POSTERIOR: _fit_posterior(localizer, train, val),
    }
    check()
    members = {name: member for name, member in fitted.items() if member is not None}
    portfolio = Portfolio(localizer.center.clone(), members, {}, spread=False).to(device)
    located: list[tuple[Tensor, Tensor | None]] = [
        (torch.from_numpy(network.mean[kept]), torch.from_numpy(network.covariance[kept])),
        *(_locate(portfolio, name, localizer, val) for name in members),
    ]
    positions = np.stack([position.numpy() for position, _ in located])
    target = val.target + center
    group = independent_groups(dataset.split_by, dataset.group[val.rows], val.target)
    weights = stack(positions, target, group).tolist()
    portfolio.weights = dict(zip((NETWORK, *members), weights, strict=True))
    portfolio.spread = _spread_helps(located, weights, target)
    return portfolio


def stack(positions: Floats, target: Floats, group: NDArray[np.integer]) -> Floats:
    """Weights [K] of the positions [K, N, 2], with the smallest mean error of their mean.

    The mean of the best weights for resamples of the groups (bagging, Breiman 1996): with few
    independent groups the resamples disagree, and the weights approach equal shares of the members
    that could be best; with many, the weights that are best for all of them.
    """
    choices = _simplex(len(positions))
    _, index = np.unique(group, return_inverse=True)
    index %= _MAX_GROUPS
    groups = int(index.max()) + 1
    totals = np.stack(
        [
            np.bincount(
                index,
                metrics.position_errors(np.einsum("k,kni->ni", choice, positions), target),
                groups,
            )
            for choice in choices
        ]
    )  # [choices, groups]
    drawn = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), _RESAMPLES)
    best = choices[np.argmin(drawn @ totals.T, axis=1)]
    weights = best.mean(axis=0)
    weights[weights < _MIN_WEIGHT] = 0
    return np.asarray(weights / weights.sum())


def _simplex(count: int) -> Floats:
    steps = product(range(_WEIGHT_STEPS + 1), repeat=count)
    return np.array([step for step in steps if sum(step) == _WEIGHT_STEPS]) / _WEIGHT_STEPS


def _spread_helps(
    located: list[tuple[Tensor, Tensor | None]], weights: list[float], target: Floats
) -> bool:
    """Whether the scatter of the positions makes the calibrated covariance more likely."""
    losses = []
    for spread in (False, True):
        mean, covariance = combine(located, weights, spread)
        predicted = Predictions(mean.numpy(), covariance.numpy())
        temperature = metrics.maximum_likelihood_temperature(predicted, target)
        calibrated = predicted.with_temperature(temperature)
        losses.append(metrics.negative_log_likelihood(calibrated, target))
    return losses[1] < losses[0]


def _locate(
    portfolio: Portfolio, name: str, localizer: Localizer, split: Split
) -> tuple[Tensor, Tensor | None]:
    parts = [
        portfolio.locate(name, signals, localizer.refine)
        for signals in split.batches(localizer.center.device)
    ]
    covariances = [covariance.cpu() for _, covariance in parts if covariance is not None]
    position = torch.cat([position.cpu() for position, _ in parts])
    return position, torch.cat(covariances) if covariances else None


def _fit_vectors(
    kind: VectorKind, localizer: Localizer, train: Split, with_places: bool = False
) -> SignalVectors:
    """`with_places`: the positions of mobile receivers are columns too."""
    receivers = len(train.dataset.receivers)
    row = np.ones(receivers)
    normalizer = localizer.normalizer
    rssi, snr = normalizer.rssi, normalizer.snr
    mobile: Rows = np.empty(0, np.intp)
    if kind == "standardized":
        floor = np.stack([0 * row, rssi.weakest, snr.weakest, 0 * row])
        level = np.stack([0 * row, rssi.level, snr.level, 0 * row])
        scale = np.stack([row, rssi.spread * row, snr.spread * row, normalizer.toa_ns * row])
    else:
        readings = _strength(train)
        readings = readings[~np.isnan(readings)]
        lowest = float(readings.min()) - _BELOW_WEAKEST_DB if readings.size else 0.0
        middle = float(readings.mean(dtype=float)) if readings.size else 0.0
        floor, level, scale = (
            np.stack([value * row, other * row])
            for value, other in ((lowest, 0.0), (middle, 0.0), (1.0, 1.0))
        )
    if with_places:
        mobile = np.flatnonzero(~train.dataset.stationary)
    tensors = {
        name: torch.from_numpy(array.astype(np.float32))
        for name, array in (("floor", floor), ("level", level), ("scale", scale))
    }
    tensors["mobile"] = torch.from_numpy(mobile)
    tensors["center"] = torch.tensor(normalizer.center, dtype=torch.float32)
    tensors["unknown"] = torch.zeros(1)
    vectors = SignalVectors(kind, tensors)
    total, count = torch.zeros(()), torch.zeros(())
    for signals in train.batches(torch.device("cpu")):
        values = vectors.with_gaps(signals)
        total = total + values.nansum(dim=0, dtype=torch.float64)
        count = count + (~values.isnan()).sum(dim=0)
    vectors.unknown = (total / count.clamp(min=1)).float()
    return vectors


def _strength(split: Split) -> NDArray[np.float32]:
    rssi, snr = split.dataset.rssi[split.rows], split.dataset.snr[split.rows]
    return np.where(np.isnan(rssi), snr, rssi)


def _vectors(vectors: SignalVectors, split: Split, device: torch.device) -> Tensor:
    return torch.cat([vectors(signals) for signals in split.batches(device)])


def _fit_trees(
    localizer: Localizer, train: Split, val: Split, seed: int, check: Callable[[], None]
) -> Trees | None:
    """With the vectors, leaf size and split candidates that are best on the validation split."""
    device = localizer.center.device
    # A tree with leaves of at least n samples has about two nodes for each n of them.
    smallest = -(-2 * _TREES * len(train.rows) // _MAX_NODES)
    best: tuple[float, SignalVectors, Growth] | None = None
    kinds: tuple[VectorKind, ...] = ("strength", "centroids")
    for kind in kinds:
        vectors = _fit_vectors(kind, localizer, train, with_places=True).to(device)
        columns = len(vectors.unknown)
        tried = train.subsample(
            min(max(_MAX_SELECTION_CELLS // columns, 500), _MAX_SELECTION_SAMPLES)
        )
        inputs, val_inputs = (
            _vectors(vectors, split, device).cpu().numpy() for split in (tried, val)
        )
        for leaf, share in product(_LEAF_SIZES, _FEATURE_SHARES):
            growth = Growth(leaf, share, seed)
            estimate = growth.fit(inputs, tried.target, _SELECTION_TREES).predict(val_inputs)
            error = float(metrics.position_errors(estimate, val.target).mean())
            if best is None or error < best[0]:
                best = error, vectors, replace(growth, leaf=max(leaf, smallest))
            check()
    assert best is not None
    _, vectors, growth = best
    inputs = _vectors(vectors, train, device).cpu().numpy()
    if not np.ptp(inputs, axis=0).any():
        return None
    return _flatten(vectors, growth.fit(inputs, train.target, _TREES))


@dataclass(frozen=True, slots=True)
class Growth:
    """`leaf`: minimum samples of a leaf; `share`: fraction of the columns tried at each split."""

    leaf: int
    share: float
    seed: int

    def fit(self, inputs: NDArray[np.float32], target: Floats, trees: int) -> ExtraTreesRegressor:
        # Starting takes about a second, and only trainings need it.
        from sklearn.ensemble import ExtraTreesRegressor

        return ExtraTreesRegressor(
            trees, min_samples_leaf=self.leaf, max_features=self.share, max_depth=_MAX_DEPTH,
            random_state=self.seed, n_jobs=1,
        ).fit(inputs, target)  # fmt: skip


def _flatten(vectors: SignalVectors, forest: ExtraTreesRegressor) -> Trees:
    trees = [estimator.tree_ for estimator in forest.estimators_]
    sizes = [tree.node_count for tree in trees]
    starts = np.cumsum([0, *sizes[:-1]])
    children, feature, threshold, value = [], [], [], []
    for start, tree in zip(starts, trees, strict=True):
        leaf = tree.children_left < 0
        own = np.arange(tree.node_count)
        both = np.stack([tree.children_left, tree.children_right])
        children.append(np.where(leaf, own, both) + start)
        feature.append(np.where(leaf, 0, tree.feature))
        threshold.append(np.where(leaf, 0.0, tree.threshold))
        value.append(tree.value[:, :, 0])
    tensors = {
        "root": torch.from_numpy(starts.astype(np.int32)),
        "feature": torch.from_numpy(np.concatenate(feature).astype(np.int32)),
        "threshold": torch.from_numpy(_round_down(np.concatenate(threshold))),
        "branches": torch.from_numpy(np.concatenate(children, axis=1).astype(np.int32)),
        "value": torch.from_numpy(np.concatenate(value).astype(np.float32)),
    }
    depth = max(int(tree.max_depth) for tree in trees)
    return Trees(vectors, depth, tensors).to(vectors.unknown.device)


def _round_down(threshold: Floats) -> NDArray[np.float32]:
    # So that `reading <= threshold` has the same result for every float32 reading.
    rounded = threshold.astype(np.float32)
    return np.where(
        rounded.astype(float) > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded
    )


def _fit_neighbors(
    localizer: Localizer, train: Split, val: Split, check: Callable[[], None]
) -> Neighbors | None:
    """With the representation, number and weighting that are best on the validation split."""
    device = localizer.center.device
    best: tuple[float, Neighbors] | None = None
    for kind in _kinds(train):
        vectors = _fit_vectors(kind, localizer, train).to(device)
        columns = len(vectors.unknown)
        kept = train.subsample(min(_MAX_NEIGHBORS, _MAX_NEIGHBOR_CELLS // columns))
        known = _vectors(vectors, kept, device)
        positions = torch.from_numpy(kept.target.astype(np.float32)).to(device)
        tensors = {"known": known, "positions": positions}
        counts = sorted({min(count, len(known)) for count in _NEIGHBOR_COUNTS})
        squared, nearest = _search(vectors, known, val, counts[-1], device)
        for count, weight_by_distance in product(counts, (False, True)):
            member = Neighbors(vectors, count, weight_by_distance, tensors)
            estimate = member.average(squared[:, :count], nearest[:, :count]).cpu().numpy()
            error = float(metrics.position_errors(estimate, val.target).mean())
            if best is None or error < best[0]:
                best = error, member
        check()
    return best[1] if best else None


def _kinds(train: Split) -> Sequence[VectorKind]:
    timed = not np.isnan(train.dataset.toa[train.rows]).all()
    if timed or np.isnan(_strength(train)).all():
        return ("standardized",)
    return ("standardized", "strength")


def _search(
    vectors: SignalVectors, known: Tensor, val: Split, count: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    found = [
        squared_distances(vectors(signals), known).topk(count, dim=1, largest=False)
        for signals in val.batches(device)
    ]
    squared, nearest = zip(*found, strict=True)
    return torch.cat(squared), torch.cat(nearest)


def _fit_posterior(localizer: Localizer, train: Split, val: Split) -> FittedPosterior | None:
    """None if the signal strengths do not determine a propagation model."""
    dataset, device = train.dataset, localizer.center.device
    placed = np.array([receiver.fixed for receiver in dataset.receivers])
    rx = dataset.rx[train.rows[0]].astype(float)
    rx[:, :2] -= localizer.center.cpu().numpy()
    rx[~placed] = np.nan
    some = train.subsample(_MAX_PROPAGATION_SAMPLES)
    path_loss = PathLossModel.fit(
        _strength(some).astype(float), distances(some.target, rx), dataset.in_service[some.rows]
    )
    if path_loss is None or path_loss.slope <= 0:
        return None
    grid, density, step = _density_grid(some.target)
    distance = distances(grid, rx)
    expected = -path_loss.slope * np.log10(np.maximum(distance, 1.0))
    below = (path_loss.threshold - path_loss.level - expected) / path_loss.sigma
    log_silent = np.log(np.maximum(normal_cdf(np.nan_to_num(below)), _MIN_SILENT_PROBABILITY))
    arrays = {
        "grid": grid,
        "step": step,
        "log_prior": np.log(density),
        "level": path_loss.level,
        "expected": np.nan_to_num(expected),
        "log_silent": log_silent,
        "placed": placed,
        "sigma": np.array(path_loss.sigma),
        "distance": np.nan_to_num(distance),
        "clock_offset": localizer.clock_offset.cpu().numpy(),
        "clock_sigma": localizer.clock_sigma.cpu().numpy(),
    }
    tensors = {
        name: torch.from_numpy(array.astype(np.float32)).to(device)
        for name, array in arrays.items()
    }
    best: tuple[float, FittedPosterior] | None = None
    timed = localizer.normalizer.clock_offsets.sigma_m is not None
    for refined in (False, True) if timed else (False,):
        member = FittedPosterior(refined, tensors)
        alone = Portfolio(localizer.center.clone(), {POSTERIOR: member}, {}, spread=False)
        position, _ = _locate(alone, POSTERIOR, localizer, val)
        target = val.target + localizer.center.cpu().numpy()
        error = float(metrics.position_errors(position.numpy(), target).mean())
        if best is None or error < best[0]:
            best = error, member
    return best[1] if best else None


def _density_grid(target: Floats) -> tuple[Floats, Floats, Floats]:
    """Positions [G, 2] where the training samples [n, 2] are, their density [G], and the step [2].

    The density is a Gaussian kernel estimate of the width that Scott (1992) recommends.
    """
    low, high = target.min(axis=0), target.max(axis=0)
    margin = (high - low) / _GRID_POINTS
    axes = np.linspace(low - margin, high + margin, _GRID_POINTS)
    grid = np.stack(np.meshgrid(*axes.T, indexing="ij"), axis=-1).reshape(-1, 2)
    width = np.maximum(target.std(axis=0), 1e-3) * len(target) ** (-1 / 6)
    density = np.zeros(len(grid))
    for start in range(0, len(target), BATCH):
        delta = (grid[:, None] - target[start : start + BATCH]) / width
        density += np.exp(-(delta**2).sum(axis=-1) / 2).sum(axis=1)
    kept = density > _MIN_DENSITY * density.max()
    return grid[kept], density[kept] / density.max(), axes[1] - axes[0]
