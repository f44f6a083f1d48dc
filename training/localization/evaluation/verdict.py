"""The verdict on a result: comparison with classical methods, and what is unreliable."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training.localization.geometry import Floats

_TITLES = {
    "centroid": "the centroid",
    "weighted_centroid": "the weighted centroid",
    "nearest_neighbours": "nearest neighbors",
    "maximum_likelihood": "maximum likelihood",
    "fitted_posterior": "the fitted posterior",
    "extra_trees": "extremely randomized trees",
}
_RESAMPLES = 2000
_MAX_GROUPS = 1000  # more are merged, which keeps them independent
_TAIL = 0.025  # on each side of the interval
_FEW_SAMPLES = 1000
_LOW_COVERAGE = 0.6  # of the 68 % ellipses


def assess(
    errors: Floats,
    baselines: Mapping[str, Floats],
    inside_68: NDArray[np.bool_],
    group: NDArray[np.integer],
    train_samples: int,
) -> str:
    """Errors [n] of the model and the baselines on the test split, and `inside_68` [n].

    A difference counts if it is significant in a paired bootstrap over groups.
    """
    sentences = [_compare(errors, baselines, group, train_samples)] if baselines else []
    held = float(inside_68.mean())
    if held < _LOW_COVERAGE and interval(inside_68.astype(float), group)[1] < 0.68:
        sentences.append(
            f"The 68 % ellipses hold {100 * held:.0f} % of the test positions: the test area "
            "differs from the training data."
        )
    return " ".join(sentences)


def _compare(
    errors: Floats, baselines: Mapping[str, Floats], group: NDArray[np.integer], train_samples: int
) -> str:
    best = min(baselines, key=lambda name: baselines[name].mean())
    title, error = _TITLES[best], float(baselines[best].mean())
    change = float(errors.mean()) / max(error, 1e-9) - 1
    low, high = interval(errors - baselines[best], group)
    percent = f"{100 * abs(change):.0f} %" if abs(change) >= 0.005 else "Less than 1 %"
    if high < 0:
        return f"{percent} better than the best classical method ({title})."
    few = f": {train_samples:,} samples are few" if train_samples < _FEW_SAMPLES else ""
    if low > 0:
        return f"{percent} worse than {title}{few}."
    return f"No better than {title}{few or ', within the noise of this test'}."


def interval(values: Floats, group: NDArray[np.integer]) -> tuple[float, float]:
    """95 % interval of the mean of `values` [n] by the bootstrap over groups (Efron 1979)."""
    _, index = np.unique(group, return_inverse=True)
    index %= _MAX_GROUPS
    totals, counts = np.bincount(index, values), np.bincount(index)
    groups = len(counts)
    drawn = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), _RESAMPLES)
    low, high = np.quantile(drawn @ totals / (drawn @ counts), [_TAIL, 1 - _TAIL])
    return float(low), float(high)
