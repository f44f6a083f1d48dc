"""Accuracy relative to the optimum on 50,000 synthetic samples: `python -m benchmarks.synthetic`.

Signal strength only (8 dB of shadowing): RMSE divided by that of the posterior mean, the optimal
estimator. With arrival times (1 microsecond): RMSE divided by the Cramér-Rao bound, on the half of
the test split with the lower bound. All settings but those on the command line are defaults.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.training import coverage_note, print_header, print_members, print_row, train
from training.localization.config import GenerateConfig
from training.localization.evaluation import cramer_rao
from training.localization.localizer.localizer import predict_split
from training.localization.metrics import position_errors, rmse
from training.localization.synthetic.generate import generate_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--only", choices=["strength", "timing"])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--loss", choices=["distance", "squared"])
    options = parser.parse_args()
    given = {"epochs": options.epochs, "batch_size": options.batch, "loss": options.loss}
    config = {name: value for name, value in given.items() if value}
    print_header()
    if options.only != "timing":
        benchmark_strength(options.samples, config)
    if options.only != "strength":
        benchmark_timing(options.samples, config)


def benchmark_strength(samples: int, config: dict[str, Any]) -> None:
    dataset = generate_dataset(
        GenerateConfig(samples=samples, seed=7, shadowing_db=8, timing_sigma_ns=None)
    )
    run = train(dataset, **config)
    test, optimum = run.evaluation["test"], run.evaluation["bayes_rmse_m"]
    assert optimum is not None
    print_row("strength, 8 dB", test, coverage_note(run))
    print_members(run)
    print(f"strength: RMSE / RMSE of the posterior mean = {test['rmse_m'] / optimum:.4f}")


def benchmark_timing(samples: int, config: dict[str, Any]) -> None:
    dataset = generate_dataset(GenerateConfig(samples=samples, seed=8, timing_sigma_ns=1000))
    run = train(dataset, **config)
    test, rows = run.evaluation["test"], dataset.rows("test")
    print_row("timing, 1 us", test, coverage_note(run))
    print_members(run)
    errors = position_errors(predict_split(run.localizer, dataset, rows).mean, dataset.target[rows])
    bound = cramer_rao.position_error_bound(dataset, rows)
    assert bound is not None
    lower_half = np.argsort(bound)[: len(bound) // 2]
    achieved, optimum = rmse(errors[lower_half]), rmse(bound[lower_half])
    assert achieved and optimum
    print(f"timing, lower half: RMSE / bound = {achieved:.0f} m / {optimum:.0f} m "
          f"= {achieved / optimum:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
