"""Which samples train, which validate, which test: neighbours stay on one side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.localization.geometry import Floats

# Of the samples; the rest, 70 %, trains.
HELD_OUT_FRACTIONS = {"test": 0.15, "val": 0.15}
_CODE = {"train": 0, "val": 1, "test": 2}
_BLOCKS_ACROSS = 16

# What a dataset says of its split.
GIVEN = "as given in the split column"
BY_PLACE = "by place: whole squares of the area"
AT_RANDOM = "at random: neighbours leak from one side to the other"
INDEPENDENT = "at random: each sample is drawn for itself, so neighbours tell nothing"


def by_column(name: str) -> str:
    return f"by {name}: samples of one {name} stay on one side"


def split_by_group(group: NDArray[np.integer], seed: int) -> NDArray[np.int8]:
    """0 train, 1 val, 2 test [N]: whole groups in random order, as near to the shares as they fit.

    Each side gets at least one group; with fewer than three, a side stays empty.
    """
    names, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    side = np.zeros(len(names), np.int8)
    for name, share in HELD_OUT_FRACTIONS.items():
        room = share * len(group)
        for candidate in [one for one in order if side[one] == 0]:
            if sizes[candidate] / 2 <= room:  # it comes nearer to the share with it than without
                side[candidate] = _CODE[name]
                room -= sizes[candidate]
    for name in HELD_OUT_FRACTIONS:
        training = np.flatnonzero(side == 0)
        if _CODE[name] not in side and len(training) > 1:
            side[training[np.argmin(sizes[training])]] = _CODE[name]
    return side[index]


def split_randomly(count: int, seed: int) -> NDArray[np.int8]:
    """0 train, 1 val, 2 test [N]: each sample for itself."""
    side = np.zeros(count, np.int8)
    order, start = np.random.default_rng(seed).permutation(count), 0
    for name, share in HELD_OUT_FRACTIONS.items():
        end = start + max(round(share * count), 1)
        side[order[start:end]] = _CODE[name]
        start = end
    return side


def blocks(target: Floats) -> NDArray[np.int32]:
    """The square each position [N, 2] lies in; 16 squares along the longer side of the area."""
    offset = target - target.min(axis=0)
    edge = max(float(offset.max()) / _BLOCKS_ACROSS, 1.0)
    east, north = np.minimum(offset / edge, _BLOCKS_ACROSS - 1).astype(np.int32).T
    return np.asarray(east * _BLOCKS_ACROSS + north)
