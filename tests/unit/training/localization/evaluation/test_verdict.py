from __future__ import annotations

import numpy as np
import pytest

from training.localization.evaluation.verdict import assess

GROUP = np.arange(200) // 4
BASE = np.random.default_rng(0).uniform(50, 150, 200)
INSIDE = np.arange(200) % 100 < 68
BASELINES = {"nearest_neighbours": BASE, "centroid": 3 * BASE}
NOISE = np.random.default_rng(1).normal(0, 40, 200)


@pytest.mark.parametrize(
    ("errors", "train_samples", "sentence"),
    [
        (0.88 * BASE, 5000, "12 % better than the best classical method (nearest neighbors)."),
        (0.999 * BASE, 5000,
         "Less than 1 % better than the best classical method (nearest neighbors)."),
        (BASE + NOISE - NOISE.mean() - 0.1, 5000,
         "No better than nearest neighbors, within the noise of this test."),
        (BASE + NOISE - NOISE.mean() - 0.1, 300,
         "No better than nearest neighbors: 300 samples are few."),
        (1.1 * BASE, 300, "10 % worse than nearest neighbors: 300 samples are few."),
        (1.1 * BASE, 5000, "10 % worse than nearest neighbors."),
    ],
)  # fmt: skip
def test_difference_counts_if_significant_over_groups(
    errors: np.ndarray, train_samples: int, sentence: str
) -> None:
    assert assess(errors, BASELINES, INSIDE, GROUP, train_samples) == sentence


def test_low_coverage_is_reported_with_the_likely_reason() -> None:
    found = assess(0.88 * BASE, BASELINES, np.arange(200) % 100 < 51, GROUP, 5000)
    assert found.endswith(
        "The 68 % ellipses hold 51 % of the test positions: the test area differs from the "
        "training data."
    )


def test_low_coverage_of_few_groups_may_be_chance() -> None:
    inside = np.repeat([True, False, True, False, True], 40)
    found = assess(0.88 * BASE, BASELINES, inside & (np.arange(200) % 100 < 95), GROUP // 10, 5000)
    assert "ellipses" not in found


def test_without_baselines_only_the_coverage_is_judged() -> None:
    assert assess(BASE, {}, INSIDE, GROUP, 5000) == ""
