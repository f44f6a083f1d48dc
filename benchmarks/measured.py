"""Accuracy on measured data, compared with classical methods: `benchmarks.measured FOLDER…`.

Each FOLDER is in the import format. All figures are of the test split; all choices are made on the
validation split; all settings are defaults. The members of the portfolio are shown alone too. The
last lines have the ratio to the best classical baseline.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.training import Run, coverage_note, print_header, print_members, print_row, train
from training.localization.data.dataset import Dataset
from training.localization.data.splits import describe_split
from training.localization.importing.importer import read_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--members", type=int, default=5, help="ensemble size; 1 for none")
    parser.add_argument("--epochs", type=int, default=None)
    options = parser.parse_args()
    epochs = {"epochs": options.epochs} if options.epochs else {}
    for folder in options.folders:
        dataset = read_folder(folder)
        split = describe_split(dataset.split_by)
        print(
            f"{folder.name}: {len(dataset):,} samples, {len(dataset.receivers)} receivers, "
            f"split: {split}"
        )
        print_header()
        for members in dict.fromkeys([1, options.members]):
            runs = [
                train_and_print(dataset, seed, members, epochs) for seed in range(options.seeds)
            ]
            print_summary(members, runs)


def train_and_print(dataset: Dataset, seed: int, members: int, epochs: dict[str, int]) -> Run:
    run = train(dataset, seed=seed, members=members, **epochs)
    if seed == 0:
        for baseline, errors in run.evaluation["baselines"].items():
            print_row(baseline.replace("_", " "), errors)
    name = f"{members} network(s), seed {seed}"
    print_row(name, run.evaluation["test"], coverage_note(run))
    print_members(run)
    print(f"  {run.evaluation['verdict']}")
    return run


def print_summary(members: int, runs: list[Run]) -> None:
    tests = [run.evaluation["test"] for run in runs]
    mean = float(np.mean([test["mean_m"] for test in tests]))
    baselines = runs[0].evaluation["baselines"]
    best = min(baselines, key=lambda name: baselines[name]["mean_m"])
    covered_68 = float(np.mean([test["coverage_68"] for test in tests]))
    covered_95 = float(np.mean([test["coverage_95"] for test in tests]))
    print(
        f"{members} network(s): mean error {mean:.3g} m, {mean / baselines[best]['mean_m']:.3f} of "
        f"{best.replace('_', ' ')}; coverage {covered_68:.1%} of 68 %, {covered_95:.1%} of 95 %"
    )


if __name__ == "__main__":
    main()
