"""How near to possible on 50,000 synthetic samples: `python -m benchmarks.synthetic`.

Signal strength alone (8 dB of shadowing): RMSE over that of the mean of the posterior, which nobody
beats. With arrival times (1 microsecond): RMSE over the Cramér-Rao bound, on the half of the test
split whose bound is better. No setting is touched but those on the command line.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.training import head, line, train
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
    chosen = parser.parse_args()
    asked = {"epochs": chosen.epochs, "batch_size": chosen.batch, "loss": chosen.loss}
    config = {name: value for name, value in asked.items() if value}
    head()
    if chosen.only != "timing":
        strength(chosen.samples, config)
    if chosen.only != "strength":
        timing(chosen.samples, config)


def strength(samples: int, config: dict[str, Any]) -> None:
    dataset = generate_dataset(
        GenerateConfig(samples=samples, seed=7, shadowing_db=8, timing_sigma_ns=None)
    )
    done = train(dataset, **config)
    test, optimum = done.evaluation["test"], done.evaluation["bayes_rmse_m"]
    line("strength, 8 dB", test, f"covers {test['coverage_68']:.1%} of 68, {done.seconds:.0f} s")
    print(f"strength: RMSE / RMSE of the posterior mean = {test['rmse_m'] / optimum:.4f}")


def timing(samples: int, config: dict[str, Any]) -> None:
    dataset = generate_dataset(GenerateConfig(samples=samples, seed=8, timing_sigma_ns=1000))
    done = train(dataset, **config)
    test, rows = done.evaluation["test"], dataset.rows("test")
    line("timing, 1 us", test, f"covers {test['coverage_68']:.1%} of 68, {done.seconds:.0f} s")
    errors = position_errors(predict_split(done.answer, dataset, rows).mean, dataset.target[rows])
    bound = cramer_rao.position_error_bound(dataset, rows)
    assert bound is not None
    better = np.argsort(bound)[: len(bound) // 2]
    reached, possible = rmse(errors[better]), rmse(bound[better])
    assert reached and possible
    print(f"timing, better half: RMSE / bound = {reached:.0f} m / {possible:.0f} m "
          f"= {reached / possible:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
