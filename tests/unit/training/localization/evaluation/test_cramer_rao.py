from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training.localization.evaluation.monte_carlo import monte_carlo_bound
from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset
from training.localization.evaluation.cramer_rao import (
    bound_at,
    censored_information,
    dilution_of_precision,
    find_good_geometry,
    normal_cdf,
    position_error_bound,
)
from training.localization.synthetic.generate import generate_dataset

AROUND = np.array([[10e3, 0, 0], [-10e3, 0, 0], [0, 10e3, 0], [0, -10e3, 0]], float)
MIDDLE = np.zeros((1, 2))


def test_gdop_of_four_evenly_spaced_receivers_is_one() -> None:
    assert dilution_of_precision(MIDDLE, AROUND, np.ones((1, 4), bool)) == pytest.approx([1.0])


def test_gdop_of_collinear_receivers_is_infinite() -> None:
    row = np.array([[10e3, 0, 0], [20e3, 0, 0], [30e3, 0, 0]], float)
    assert dilution_of_precision(MIDDLE, row, np.ones((1, 3), bool))[0] == np.inf


def test_bound_with_timing_is_proportional_to_the_timing_error() -> None:
    config = GenerateConfig(shadowing_db=30, transmit_dbm=80).physics()
    ten_ns, hundred_ns = (
        bound_at(MIDDLE, AROUND, {**config, "timing_sigma_ns": sigma})[0] for sigma in (10, 100)
    )
    assert ten_ns == pytest.approx(10e-9 * 299_792_458, rel=0.01)
    assert hundred_ns == pytest.approx(10 * ten_ns, rel=0.01)


def test_efficient_estimator_reaches_the_bound_of_signal_strength() -> None:
    """Monte Carlo: maximum likelihood near the true place, strong signals, small shadowing."""
    physics = GenerateConfig(shadowing_db=0.05, timing_sigma_ns=None, transmit_dbm=80).physics()
    bound = bound_at(MIDDLE, AROUND, physics)[0]
    slope = 10 * physics["path_loss_exponent"] / np.log(10) / 10e3
    gradient = slope * AROUND[:, :2] / 10e3
    noise = np.random.default_rng(0).normal(0, 0.05, (20_000, 4))
    errors = noise @ np.linalg.pinv(gradient).T
    assert np.sqrt((errors**2).sum(axis=1).mean()) == pytest.approx(bound, rel=0.02)


@pytest.mark.parametrize(("timing", "strength"), [(None, True), (1000.0, False), (1000.0, True)])
def test_bound_agrees_with_the_simulated_score(timing: float | None, strength: bool) -> None:
    """Fisher information is the variance of the score, here by differences of the likelihood."""
    config = GenerateConfig(timing_sigma_ns=timing, transmit_dbm=25)
    place, around, physics = np.array([[8e3, -5e3]]), AROUND * 4, config.physics()
    found = monte_carlo_bound(place, around, physics, 200_000, strength=strength)
    assert found == pytest.approx(bound_at(place, around, physics, strength=strength)[0], rel=0.02)


def test_good_geometry_needs_four_receivers_with_timing() -> None:
    dataset = generate_dataset(GenerateConfig(samples=400, transmit_dbm=15))
    rows = np.arange(400)
    good = find_good_geometry(dataset, rows)
    assert 0 < good.mask.sum() < 400
    assert dataset.heard[good.mask].sum(axis=1).min() >= 4
    assert "at least 4 receivers" in good.definition


def test_good_geometry_without_timing_is_below_the_median_bound() -> None:
    dataset = generate_dataset(GenerateConfig(samples=400, timing_sigma_ns=None))
    good = find_good_geometry(dataset, dataset.rows("val"))
    assert good.mask.mean() == pytest.approx(0.5, abs=0.1)
    assert "median of the validation split" in good.definition


@pytest.mark.parametrize("count", [3, 5, 8])
def test_gdop_of_k_evenly_spaced_receivers_is_two_over_root_k(count: int) -> None:
    turn = 2 * np.pi * np.arange(count) / count
    receivers = np.column_stack([10e3 * np.cos(turn), 10e3 * np.sin(turn), np.zeros(count)])
    dilution = dilution_of_precision(MIDDLE, receivers, np.ones((1, count), bool))
    assert dilution == pytest.approx([2 / np.sqrt(count)])


def test_receivers_of_unknown_position_do_not_count() -> None:
    with_unknown = np.vstack([AROUND, [[np.nan, np.nan, np.nan]]])
    dilution = dilution_of_precision(MIDDLE, with_unknown, np.ones((1, 5), bool))
    assert dilution == pytest.approx([1.0])


def test_normal_cdf_agrees_with_the_error_function_to_1e_7() -> None:
    z = np.linspace(-30, 8, 2001)
    exact = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in z])
    assert np.abs(normal_cdf(z) / exact - 1).max() < 1.2e-7 * 1.01


def test_censored_information_is_one_above_and_zero_below_the_threshold() -> None:
    information = censored_information(np.array([8.0, 0.0, -30.0]))
    assert information[0] == pytest.approx(1)
    # At the threshold: 1/2 from the readings, and density^2 / (1/2) from their absence.
    assert information[1] == pytest.approx(0.5 + 1 / np.pi, rel=1e-6)
    assert information[2] == pytest.approx(0, abs=1e-9)


def test_censored_information_is_monotonic() -> None:
    assert (np.diff(censored_information(np.linspace(-6, 6, 200))) > 0).all()


def test_bound_is_infinite_with_a_single_receiver() -> None:
    physics = GenerateConfig().physics()
    assert bound_at(MIDDLE, AROUND[:1], physics)[0] == np.inf


def test_bound_is_finite_without_shadowing() -> None:
    physics = GenerateConfig(shadowing_db=0, timing_sigma_ns=None).physics()
    assert 0 < bound_at(MIDDLE, AROUND, physics)[0] < 10


def test_bound_is_unknown_for_measured_data(arrays: Dataset) -> None:
    assert position_error_bound(replace(arrays, physics=None), arrays.rows("test")) is None


def test_no_sample_has_good_geometry_without_receiver_positions(arrays: Dataset) -> None:
    unknown = replace(arrays, rx=np.full_like(arrays.rx, np.nan), physics=None)
    assert not find_good_geometry(unknown, unknown.rows("val")).mask.any()
