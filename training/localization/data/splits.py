"""Assign samples to the training, validation and test splits so that neighbors do not leak."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.localization.geometry import Floats

# Fractions of the samples; the remaining 70 % train.
HELD_OUT_FRACTIONS = {"test": 0.15, "val": 0.15}
_CODE = {"train": 0, "val": 1, "test": 2}
_SQUARES_ACROSS = 16

# How a dataset was split, as its file stores it. The text is part of the content hash, so it never
# changes; `describe_split` has the text for people.
GIVEN = "as given in the split column"
BY_PLACE = "by place: whole squares of the area"
AT_RANDOM = "at random: neighbours leak from one side to the other"
INDEPENDENT = "at random: each sample is drawn for itself, so neighbours tell nothing"
_DESCRIPTIONS = {
    GIVEN: "split column of samples.csv",
    BY_PLACE: "by place, in whole grid squares",
    AT_RANDOM: "random; neighboring samples leak",
    INDEPENDENT: "random; samples are independent, so nothing leaks",
}


def column_split(column: str) -> str:
    return f"by {column}: samples of one {column} stay on one side"


def describe_split(split_by: str) -> str:
    if split_by in _DESCRIPTIONS:
        return _DESCRIPTIONS[split_by]
    column = split_by.removeprefix("by ").partition(":")[0]
    if split_by == column_split(column):
        return f"by {column}; samples with the same {column} stay together"
    return split_by


def split_by_group(group: NDArray[np.integer], seed: int) -> NDArray[np.int8]:
    """0 train, 1 val, 2 test [N]: whole groups in random order, close to the fractions.

    Each split gets at least one group; with fewer than three groups a split stays empty.
    """
    names, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    code = np.zeros(len(names), np.int8)
    for name, fraction in HELD_OUT_FRACTIONS.items():
        remaining = fraction * len(group)
        for candidate in [candidate for candidate in order if code[candidate] == 0]:
            # Take the group if the split is closer to its size with it than without.
            if sizes[candidate] / 2 <= remaining:
                code[candidate] = _CODE[name]
                remaining -= sizes[candidate]
    for name in HELD_OUT_FRACTIONS:
        training = np.flatnonzero(code == 0)
        if _CODE[name] not in code and len(training) > 1:
            code[training[np.argmin(sizes[training])]] = _CODE[name]
    return code[index]


def split_randomly(count: int, seed: int) -> NDArray[np.int8]:
    code = np.zeros(count, np.int8)
    order, start = np.random.default_rng(seed).permutation(count), 0
    for name, fraction in HELD_OUT_FRACTIONS.items():
        end = start + max(round(fraction * count), 1)
        code[order[start:end]] = _CODE[name]
        start = end
    return code


def independent_groups(
    split_by: str, group: NDArray[np.integer], target: Floats
) -> NDArray[np.integer]:
    """Groups [N] whose errors count as independent: those of the split, or else grid squares.

    Samples without a group are each one of their own, yet neighbors have similar errors, except
    where each is drawn for itself.
    """
    if split_by == INDEPENDENT or len(np.unique(group)) < len(group):
        return group
    return grid_squares(target)


def grid_squares(target: Floats) -> NDArray[np.int32]:
    """The grid square [N] of each position [N, 2]; 16 squares along the longer side of the area."""
    offset = target - target.min(axis=0)
    edge = max(float(offset.max()) / _SQUARES_ACROSS, 1.0)
    east, north = np.minimum(offset / edge, _SQUARES_ACROSS - 1).astype(np.int32).T
    return np.asarray(east * _SQUARES_ACROSS + north)
