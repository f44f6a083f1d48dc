"""Accuracy on measured data beside classical methods: `python -m benchmarks.measured FOLDER`.

FOLDER is in the import format. Every figure is of the test split, every choice was made on the
validation split, and no setting is touched; the last lines give the ratio to the best classical
baseline. Extremely randomised trees (Geurts et al. 2006) need scikit-learn, and are left out
without it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.training import head, line, train
from training.localization.data.dataset import Dataset
from training.localization.evaluation.baselines import fingerprints
from training.localization.importing.importer import read_folder
from training.localization.metrics import error_summary, position_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--members", type=int, default=5, help="of the ensemble; 1: none")
    parser.add_argument("--epochs", type=int, default=None)
    chosen = parser.parse_args()
    dataset = read_folder(chosen.folder)
    epochs = {"epochs": chosen.epochs} if chosen.epochs else {}
    print(f"{len(dataset):,} samples, {len(dataset.receivers)} receivers, split {dataset.split_by}")
    head()
    classical: dict[str, dict[str, float]] = {}
    for members in dict.fromkeys([1, chosen.members]):
        found = []
        for seed in range(chosen.seeds):
            done = train(dataset, seed=seed, members=members, **epochs)
            test = done.evaluation["test"]
            if not classical:
                classical = with_trees(dataset, done.evaluation["baselines"])
            covered = f"covers {test['coverage_68']:.1%} of 68, {test['coverage_95']:.1%} of 95"
            line(f"{members} member(s), seed {seed}", test, f"{covered}, {done.seconds:.0f} s")
            found.append(test)
        summarise(members, found, classical)


def with_trees(
    dataset: Dataset, baselines: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    trees = extremely_randomised_trees(dataset)
    found = baselines if trees is None else {**baselines, "extremely_randomised_trees": trees}
    for name, errors in found.items():
        line(name.replace("_", " "), errors)
    return found


def extremely_randomised_trees(dataset: Dataset) -> dict[str, float] | None:
    try:
        from sklearn.ensemble import ExtraTreesRegressor
    except ImportError:
        return None
    place = np.nan_to_num(dataset.rx[..., :2]).reshape(len(dataset), -1)
    moves = np.repeat([not one.fixed for one in dataset.receivers], 2)
    signals = np.hstack([fingerprints(dataset)[-1], place[:, moves]])
    rows, test = dataset.rows("train"), dataset.rows("test")
    trees = ExtraTreesRegressor(300, random_state=0).fit(signals[rows], dataset.target[rows])
    return error_summary(position_errors(trees.predict(signals[test]), dataset.target[test]))


def summarise(
    members: int, found: list[dict[str, float]], classical: dict[str, dict[str, float]]
) -> None:
    mean = float(np.mean([test["mean_m"] for test in found]))
    best = min(classical, key=lambda name: classical[name]["mean_m"])
    covered = [float(np.mean([test[f"coverage_{share}"] for test in found])) for share in (68, 95)]
    print(
        f"{members} member(s): mean error {mean:.0f} m, {mean / classical[best]['mean_m']:.3f} of "
        f"{best.replace('_', ' ')}; covered {covered[0]:.1%} of 68 %, {covered[1]:.1%} of 95 %"
    )


if __name__ == "__main__":
    main()
