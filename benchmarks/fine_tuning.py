"""Where fine-tuning helps: python -m benchmarks.fine_tuning [FOLDER…].

A model of simulated transmissions, and for each FOLDER in the import format one of half of its
training split, is fine-tuned on few measurements. Each line has the mean error on the test split
next to that of a training on the same measurements from the beginning, and their ratio.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.training import Run, fine_tune, train
from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.fine_tuning import Origin
from training.localization.importing.importer import read_folder
from training.localization.synthetic.generate import generate_dataset

FEW = (50, 200, 800)
PER_SAMPLE = ("target", "rssi", "snr", "toa", "rx", "in_service", "split", "group")
# The simulation that the model is trained on is not the one that it is tested on.
ASSUMED = GenerateConfig(samples=10_000, seed=1)
TRUE = GenerateConfig(
    samples=4_000, seed=2, path_loss_exponent=3.4, shadowing_db=8, shadowing_reach_km=15,
    transmit_dbm=33,
)  # fmt: skip


def with_training_rows(dataset: Dataset, rows: NDArray[np.intp]) -> Dataset:
    """The dataset with these samples as its training split; the other splits stay."""
    kept = np.sort(np.concatenate([rows, dataset.rows("val"), dataset.rows("test")]))
    ids = dataset.sample_ids
    return replace(
        dataset,
        **{name: getattr(dataset, name)[kept] for name in PER_SAMPLE},
        sample_ids=None if ids is None else tuple(ids[row] for row in kept),
    )


def origin_of(run: Run, dataset: Dataset) -> Origin:
    receivers = tuple(receiver.id for receiver in dataset.receivers)
    return Origin(run.localizer.ensemble, run.localizer.normalizer, receivers, dataset.frame)


def compare(
    name: str, dataset: Dataset, origin: Origin, pool: NDArray[np.intp], seeds: int
) -> None:
    """`pool`: the samples of which the training gets few."""
    for count in (*(count for count in FEW if count < len(pool)), len(pool)):
        scratch, tuned = list[float](), list[float]()
        for seed in range(seeds):
            rows = np.random.default_rng(seed).choice(pool, count, replace=False)
            few = with_training_rows(dataset, rows)
            started = train(few, seed=seed, portfolio=False)
            scratch.append(started.evaluation["test"]["mean_m"])
            adapted = fine_tune(origin, few, seed=seed, portfolio=False, learning_rate=5e-4)
            tuned.append(adapted.evaluation["test"]["mean_m"])
        ratio = median(b / a for a, b in zip(scratch, tuned, strict=True))
        print(
            f"{name:28}{count:6} samples{median(scratch):12,.1f} m from scratch"
            f"{median(tuned):12,.1f} m fine-tuned{ratio:8.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    simulated, measured = generate_dataset(ASSUMED), generate_dataset(TRUE)
    origin = origin_of(train(simulated, portfolio=False), simulated)
    compare("simulation, then another", measured, origin, measured.rows("train"), options.seeds)
    for folder in options.folders:
        dataset = read_folder(folder)
        train_rows = dataset.rows("train")
        groups = np.unique(dataset.group[train_rows])
        first = np.isin(dataset.group[train_rows], groups[::2])
        half = with_training_rows(dataset, train_rows[first])
        origin = origin_of(train(half, portfolio=False), half)
        compare(f"{folder.name}, half first", dataset, origin, train_rows[~first], options.seeds)


if __name__ == "__main__":
    main()
