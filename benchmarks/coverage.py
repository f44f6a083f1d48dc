"""Coverage of the predicted ellipses in areas without data: `python -m benchmarks.coverage FOLDER`.

FOLDER is in the import format, with a `group` column or split by place. A test split is a few dozen
grid squares, which may happen to be easy or hard. So the groups are split several times, a network
is trained, calibrated and tested on each split, and the mean and the spread are printed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.training import train
from training.localization.data import splits
from training.localization.importing.importer import read_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    options = parser.parse_args()
    dataset = read_folder(options.folder)
    covered: dict[int, list[float]] = {68: [], 95: []}
    for seed in range(options.splits):
        resplit = replace(
            dataset, split=splits.split_by_group(dataset.group, seed), split_by=splits.BY_PLACE
        )
        test = train(resplit, seed=seed).evaluation["test"]
        covered[68].append(test["coverage_68"])
        covered[95].append(test["coverage_95"])
        squares = len(np.unique(resplit.group[resplit.rows("test")]))
        print(
            f"split {seed}: {squares} grid squares, {test['samples']} samples, "
            f"mean error {test['mean_m']:.0f} m, coverage {covered[68][-1]:.1%} of 68 %, "
            f"{covered[95][-1]:.1%} of 95 %",
            flush=True,
        )
    for level, values in covered.items():
        deviation = np.std(values, ddof=1)
        print(
            f"{level} % ellipses: coverage {np.mean(values):.1%}, standard deviation over splits "
            f"{deviation:.1%}, standard error {deviation / np.sqrt(len(values)):.1%}"
        )


if __name__ == "__main__":
    main()
