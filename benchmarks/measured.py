"""Accuracy on measured data beside classical methods: `python -m benchmarks.measured FOLDER`.

FOLDER is in the import format. All figures are of the test split; all choices are made on the
validation split; all settings are defaults. The last lines have the ratio to the best classical
baseline. Extremely randomized trees (Geurts et al. 2006) need scikit-learn and are left out
without it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.training import Run, coverage_note, print_header, print_row, train
from training.localization.data.dataset import Dataset
from training.localization.data.splits import describe_split
from training.localization.evaluation.baselines import fingerprints
from training.localization.importing.importer import read_folder
from training.localization.metrics import ErrorSummary, error_summary, position_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--members", type=int, default=5, help="ensemble size; 1 for none")
    parser.add_argument("--epochs", type=int, default=None)
    options = parser.parse_args()
    dataset = read_folder(options.folder)
    epochs = {"epochs": options.epochs} if options.epochs else {}
    split = describe_split(dataset.split_by)
    print(f"{len(dataset):,} samples, {len(dataset.receivers)} receivers, split: {split}")
    print_header()
    baselines: dict[str, ErrorSummary] = {}
    for members in dict.fromkeys([1, options.members]):
        runs = []
        for seed in range(options.seeds):
            run = train(dataset, seed=seed, members=members, **epochs)
            if not baselines:
                baselines = print_baselines(dataset, run.evaluation["baselines"])
            name = f"{members} member(s), seed {seed}"
            print_row(name, run.evaluation["test"], coverage_note(run))
            runs.append(run)
        print_summary(members, runs, baselines)


def print_baselines(
    dataset: Dataset, baselines: dict[str, ErrorSummary]
) -> dict[str, ErrorSummary]:
    trees = extremely_randomized_trees(dataset)
    if trees is not None:
        baselines = {**baselines, "extremely_randomized_trees": trees}
    for name, errors in baselines.items():
        print_row(name.replace("_", " "), errors)
    return baselines


def extremely_randomized_trees(dataset: Dataset) -> ErrorSummary | None:
    try:
        from sklearn.ensemble import ExtraTreesRegressor
    except ImportError:
        return None
    position = np.nan_to_num(dataset.rx[..., :2]).reshape(len(dataset), -1)
    mobile = np.repeat([not receiver.fixed for receiver in dataset.receivers], 2)
    features = np.hstack([fingerprints(dataset)[-1], position[:, mobile]])
    rows, test = dataset.rows("train"), dataset.rows("test")
    trees = ExtraTreesRegressor(300, random_state=0).fit(features[rows], dataset.target[rows])
    predicted = trees.predict(features[test])
    return error_summary(position_errors(predicted, cast(np.ndarray, dataset.target[test])))


def print_summary(members: int, runs: list[Run], baselines: dict[str, ErrorSummary]) -> None:
    tests = [run.evaluation["test"] for run in runs]
    mean = float(np.mean([test["mean_m"] for test in tests]))
    best = min(baselines, key=lambda name: baselines[name]["mean_m"])
    covered_68 = float(np.mean([test["coverage_68"] for test in tests]))
    covered_95 = float(np.mean([test["coverage_95"] for test in tests]))
    print(
        f"{members} member(s): mean error {mean:.0f} m, {mean / baselines[best]['mean_m']:.3f} of "
        f"{best.replace('_', ' ')}; coverage {covered_68:.1%} of 68 %, {covered_95:.1%} of 95 %"
    )


if __name__ == "__main__":
    main()
