"""Compare the Cramér-Rao bound with a simulation: `python -m benchmarks.bounds`.

For each random geometry (4 to 9 receivers within 30 km, a transmitter among them, some receivers
near their detection threshold) the score of the likelihood is drawn many times, by finite
differences and without the formulas of `cramer_rao`. The covariance of the score is the Fisher
information. The benchmark prints the deviation of the closed form, of which a few tenths of a
percent are sampling error.
"""

from __future__ import annotations

import argparse

import numpy as np

from tests.unit.training.localization.evaluation.monte_carlo import monte_carlo_bound
from training.localization.config import GenerateConfig, Physics
from training.localization.evaluation.cramer_rao import bound_at, dilution_of_precision
from training.localization.geometry import Floats

KINDS = {"strength": (None, True), "times": (1000.0, False), "both": (1000.0, True)}
_MAX_GDOP = 5.0  # beyond, the sampling error dominates the inverse of the simulated matrix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--geometries", type=int, default=100)
    parser.add_argument("--draws", type=int, default=100_000)
    options = parser.parse_args()
    print(f"{options.geometries} geometries, {options.draws:,} draws each: |bound / simulated - 1|")
    for name, (timing, strength) in KINDS.items():
        deviations = []
        for seed in range(options.geometries):
            place, receivers, physics = draw_geometry(seed)
            physics["timing_sigma_ns"] = timing
            simulated = monte_carlo_bound(
                place, receivers, physics, options.draws, seed, strength=strength
            )
            bound = bound_at(place, receivers, physics, strength=strength)[0]
            deviations.append(abs(bound / simulated - 1))
        print(
            f"{name:10} maximum {max(deviations):.4f}, median {np.median(deviations):.4f}",
            flush=True,
        )


def draw_geometry(seed: int) -> tuple[Floats, Floats, Physics]:
    """A position [1, 2], receivers [R, 3] that are not in a line, and physics."""
    rng = np.random.default_rng(seed)
    physics = GenerateConfig(
        shadowing_db=rng.uniform(3, 10),
        path_loss_exponent=rng.uniform(2.2, 4),
        transmit_dbm=rng.uniform(15, 40),
    ).physics()
    while True:
        count = int(rng.integers(4, 10))
        receivers = np.column_stack(
            [rng.uniform(-30e3, 30e3, (count, 2)), rng.uniform(0, 500, count)]
        )
        place = rng.uniform(-20e3, 20e3, (1, 2))
        distance = np.hypot(*(receivers[:, :2] - place).T)
        dilution = dilution_of_precision(place, receivers, np.ones((1, count), bool))
        # The likelihood must be smooth within a step of the finite differences.
        smooth = np.abs(distance - 1000).min() >= 50 and distance.min() >= 500
        if dilution[0] < _MAX_GDOP and smooth:
            return place, receivers, physics


if __name__ == "__main__":
    main()
