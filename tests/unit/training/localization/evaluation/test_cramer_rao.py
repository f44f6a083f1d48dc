from __future__ import annotations

import numpy as np
import pytest

from tests.unit.training.localization.evaluation.monte_carlo import monte_carlo_bound
from training.localization.config import GenerateConfig
from training.localization.evaluation.cramer_rao import (
    bound_at,
    dilution_of_precision,
    find_good_geometry,
)
from training.localization.synthetic.generate import generate_dataset

AROUND = np.array([[10e3, 0, 0], [-10e3, 0, 0], [0, 10e3, 0], [0, -10e3, 0]], float)
MIDDLE = np.zeros((1, 2))


def test_four_receivers_evenly_around_dilute_by_one() -> None:
    assert dilution_of_precision(MIDDLE, AROUND, np.ones((1, 4), bool)) == pytest.approx([1.0])


def test_receivers_in_a_row_dilute_without_end() -> None:
    row = np.array([[10e3, 0, 0], [20e3, 0, 0], [30e3, 0, 0]], float)
    assert dilution_of_precision(MIDDLE, row, np.ones((1, 3), bool))[0] == np.inf


def test_the_bound_on_timing_grows_with_the_timing_error() -> None:
    config = GenerateConfig(shadowing_db=30, transmit_dbm=80).model_dump()
    one, ten = (
        bound_at(MIDDLE, AROUND, {**config, "timing_sigma_ns": sigma})[0] for sigma in (10, 100)
    )
    assert one == pytest.approx(10e-9 * 299_792_458, rel=0.01)
    assert ten == pytest.approx(10 * one, rel=0.01)


def test_an_efficient_estimator_reaches_the_bound_on_signal_strength() -> None:
    """Monte Carlo: maximum likelihood near the true place, strong signals, small shadowing."""
    physics = GenerateConfig(shadowing_db=0.05, timing_sigma_ns=None, transmit_dbm=80).model_dump()
    bound = bound_at(MIDDLE, AROUND, physics)[0]
    slope = 10 * physics["path_loss_exponent"] / np.log(10) / 10e3
    gradient = slope * AROUND[:, :2] / 10e3
    noise = np.random.default_rng(0).normal(0, 0.05, (20_000, 4))
    errors = noise @ np.linalg.pinv(gradient).T
    assert np.sqrt((errors**2).sum(axis=1).mean()) == pytest.approx(bound, rel=0.02)


@pytest.mark.parametrize(("timing", "strength"), [(None, True), (1000.0, False), (1000.0, True)])
def test_the_bound_is_what_monte_carlo_says_of_the_score(
    timing: float | None, strength: bool
) -> None:
    """Fisher information is the variance of the score, here by differences of the likelihood."""
    config = GenerateConfig(timing_sigma_ns=timing, transmit_dbm=25)
    place, around, physics = np.array([[8e3, -5e3]]), AROUND * 4, config.model_dump()
    found = monte_carlo_bound(place, around, physics, 200_000, strength=strength)
    assert found == pytest.approx(bound_at(place, around, physics, strength=strength)[0], rel=0.02)


def test_good_geometry_needs_four_receivers_with_timing() -> None:
    dataset = generate_dataset(GenerateConfig(samples=400, transmit_dbm=15))
    rows = np.arange(400)
    good = find_good_geometry(dataset, rows)
    assert 0 < good.mask.sum() < 400
    assert dataset.heard[good.mask].sum(axis=1).min() >= 4
    assert "at least 4 receivers" in good.definition


def test_good_geometry_without_timing_goes_by_the_validation_median() -> None:
    dataset = generate_dataset(GenerateConfig(samples=400, timing_sigma_ns=None))
    good = find_good_geometry(dataset, dataset.rows("val"))
    assert good.mask.mean() == pytest.approx(0.5, abs=0.1)
    assert "median of the validation split" in good.definition
