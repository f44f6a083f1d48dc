"""The Cramér-Rao bound against simulation: `python -m benchmarks.bounds`.

For each random geometry (4 to 9 receivers within 30 km, a transmitter among them, some receivers
near their threshold) the score of the likelihood is drawn many times, by differences and without
any formula of `bounds`; its covariance is Fisher's information. What is printed is the deviation
of the closed form, of which the draws themselves leave some tenths of a per cent.
"""

from __future__ import annotations

import argparse

import numpy as np

from tests.unit.training.localization.evaluation.monte_carlo import monte_carlo_bound
from training.localization.config import GenerateConfig
from training.localization.evaluation.cramer_rao import bound_at, dilution_of_precision
from training.localization.geometry import Floats

KINDS = {"strength": (None, True), "times": (1000.0, False), "both": (1000.0, True)}
_WIDEST_GDOP = 5.0  # beyond, inverting the drawn matrix says more of the draws than of the bound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--geometries", type=int, default=100)
    parser.add_argument("--draws", type=int, default=100_000)
    chosen = parser.parse_args()
    print(f"{chosen.geometries} geometries, {chosen.draws:,} draws each: |bound / simulated - 1|")
    for name, (timing, strength) in KINDS.items():
        off = []
        for seed in range(chosen.geometries):
            place, receivers, physics = geometry(seed)
            physics["timing_sigma_ns"] = timing
            drawn = monte_carlo_bound(
                place, receivers, physics, chosen.draws, seed, strength=strength
            )
            off.append(abs(bound_at(place, receivers, physics, strength=strength)[0] / drawn - 1))
        print(f"{name:10} worst {max(off):.4f}, median {np.median(off):.4f}", flush=True)


def geometry(seed: int) -> tuple[Floats, Floats, dict[str, object]]:
    """A place [1, 2], receivers [R, 3] that do not stand in a row, and physics."""
    rng = np.random.default_rng(seed)
    physics = GenerateConfig(
        shadowing_db=rng.uniform(3, 10),
        path_loss_exponent=rng.uniform(2.2, 4),
        transmit_dbm=rng.uniform(15, 40),
    ).model_dump()
    while True:
        count = int(rng.integers(4, 10))
        receivers = np.column_stack(
            [rng.uniform(-30e3, 30e3, (count, 2)), rng.uniform(0, 500, count)]
        )
        place = rng.uniform(-20e3, 20e3, (1, 2))
        apart = np.hypot(*(receivers[:, :2] - place).T)
        diluted = dilution_of_precision(place, receivers, np.ones((1, count), bool))
        # Within a step of the differences the likelihood must not bend.
        bends = np.abs(apart - 1000).min() < 50 or apart.min() < 500
        if diluted[0] < _WIDEST_GDOP and not bends:
            return place, receivers, physics


if __name__ == "__main__":
    main()
