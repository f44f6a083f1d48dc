"""Whether the said uncertainty holds on ground never seen: `python -m benchmarks.coverage FOLDER`.

FOLDER is in the import format, with a `group` column or split by place. One test split is a few
dozen blocks of ground, which may happen to be easy or hard; so its groups are split anew and anew,
a network is trained, calibrated and tested on each, and the spread is told beside the mean.
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
    chosen = parser.parse_args()
    dataset = read_folder(chosen.folder)
    shares: dict[int, list[float]] = {68: [], 95: []}
    for seed in range(chosen.splits):
        anew = replace(
            dataset, split=splits.split_by_group(dataset.group, seed), split_by=splits.BY_PLACE
        )
        test = train(anew, seed=seed).evaluation["test"]
        covered = {share: test[f"coverage_{share}"] for share in shares}
        blocks = len(np.unique(anew.group[anew.rows("test")]))
        print(
            f"split {seed}: {blocks} blocks, {test['samples']} samples, "
            f"mean {test['mean_m']:.0f} m, covers {covered[68]:.1%} of 68, {covered[95]:.1%} of 95",
            flush=True,
        )
        for share, found in shares.items():
            found.append(covered[share])
    for share, found in shares.items():
        print(
            f"{share} % said: {np.mean(found):.1%} covered, {np.std(found, ddof=1):.1%} from split "
            f"to split, {np.std(found, ddof=1) / np.sqrt(len(found)):.1%} standard error"
        )


if __name__ == "__main__":
    main()
