from __future__ import annotations

import numpy as np
import pytest
import torch

from training.localization.config import GenerateConfig
from training.localization.evaluation.cramer_rao import bound_at
from training.localization.geometry import SPEED_OF_LIGHT, distances
from training.localization.localizer.tdoa_refinement import Area, Arrivals, refine_positions

AROUND = np.array([[30e3, 0, 0], [-20e3, 10e3, 0], [0, 25e3, 0], [5e3, -30e3, 0]], float)
SIGMA_M = 100.0
AREA = Area(torch.zeros(2, dtype=torch.float64), 200e3)


def arrivals(places: np.ndarray, noise: float) -> Arrivals:
    ranges = distances(places, AROUND) + 12_345.0
    ranges = ranges + noise * np.random.default_rng(0).standard_normal(ranges.shape)
    rx = np.broadcast_to(AROUND, (len(places), *AROUND.shape)).copy()
    used = torch.ones(ranges.shape, dtype=torch.bool)
    return Arrivals(torch.from_numpy(ranges), torch.from_numpy(rx), used)


def wide_prior(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A wide prior around the origin."""
    mean = torch.zeros(count, 2, dtype=torch.float64)
    return mean, torch.eye(2, dtype=torch.float64).repeat(count, 1, 1) * 10e3**2


def places(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-10e3, 10e3, (count, 2))


def test_position_is_exact_without_noise() -> None:
    true = places(200)
    mean, _ = refine_positions(
        *wide_prior(200), arrivals(true, 0.0), torch.tensor(1.0).double(), AREA
    )
    assert np.abs(mean.numpy() - true).max() < 1.0


def test_error_and_covariance_reach_the_bound_with_noise() -> None:
    true = places(4000)
    found = refine_positions(
        *wide_prior(4000), arrivals(true, SIGMA_M), torch.tensor(SIGMA_M).double(), AREA
    )
    mean, covariance = (tensor.numpy() for tensor in found)
    physics = GenerateConfig(
        timing_sigma_ns=SIGMA_M / SPEED_OF_LIGHT * 1e9, shadowing_db=30, transmit_dbm=80
    ).physics()
    bound = bound_at(true, AROUND, physics)
    rmse = np.sqrt(((mean - true) ** 2).sum(axis=1).mean())
    assert rmse == pytest.approx(np.sqrt((bound**2).mean()), rel=0.05)
    predicted = np.sqrt(np.trace(covariance, axis1=1, axis2=2).mean())
    assert predicted == pytest.approx(rmse, rel=0.05)


def test_single_arrival_does_not_change_the_prior() -> None:
    heard = arrivals(places(3), SIGMA_M)
    heard.valid[:, 1:] = False
    mean, covariance = wide_prior(3)
    found_mean, found_covariance = refine_positions(
        mean, covariance, heard, torch.tensor(1.0).double(), AREA
    )
    torch.testing.assert_close(found_mean, mean)
    torch.testing.assert_close(found_covariance, covariance)


def test_refinement_is_translation_invariant() -> None:
    true, sigma = places(50), torch.tensor(SIGMA_M).double()
    heard, shift = arrivals(true, SIGMA_M), torch.tensor([7e3, -4e3]).double()
    mean, covariance = wide_prior(50)
    here, _ = refine_positions(mean, covariance, heard, sigma, AREA)
    moved = heard.position.clone()
    moved[..., :2] += shift
    there, _ = refine_positions(
        mean + shift, covariance, heard._replace(position=moved), sigma, AREA
    )
    torch.testing.assert_close(there, here + shift, atol=1e-3, rtol=0)


def test_arrivals_outweigh_a_prior_that_is_far_off() -> None:
    true, sigma = places(200), torch.tensor(SIGMA_M).double()
    # Ten standard deviations from the prior's mean.
    mean = torch.from_numpy(true + 10e3)
    sure = torch.eye(2, dtype=torch.float64).repeat(200, 1, 1) * 1e3**2
    found, _ = refine_positions(mean, sure, arrivals(true, SIGMA_M), sigma, AREA)
    assert np.sqrt(((found.numpy() - true) ** 2).sum(axis=1)).max() < 10 * SIGMA_M


def test_two_equally_likely_intersections_give_a_wide_covariance_between_them() -> None:
    """Three receivers in a line cannot determine the side of the line."""
    line = np.array([[-20e3, 0, 0], [0, 0, 0], [20e3, 0, 0]], float)
    true = np.array([[3e3, 8e3]])
    heard = Arrivals(
        torch.from_numpy(distances(true, line)),
        torch.from_numpy(line[None]),
        torch.ones(1, 3, dtype=torch.bool),
    )
    mean, covariance = refine_positions(*wide_prior(1), heard, torch.tensor(SIGMA_M).double(), AREA)
    assert abs(float(mean[0, 1])) < 100
    assert float(covariance[0, 1, 1]) ** 0.5 == pytest.approx(8e3, rel=0.05)


def test_contradictory_arrival_times_give_a_position_in_the_area() -> None:
    """They fit best thousands of kilometers away, where no coordinates exist."""
    heard = arrivals(places(1), 0.0)
    heard.valid[:, 3] = False
    heard.pseudorange[:, :3] = torch.tensor([0.0, 90e3, 180e3])  # farther apart than the receivers
    sigma = torch.tensor(SIGMA_M).double()
    everywhere, _ = refine_positions(*wide_prior(1), heard, sigma, AREA._replace(radius_m=1e12))
    assert everywhere.norm() > 1e6
    found, _ = refine_positions(*wide_prior(1), heard, sigma, AREA)
    assert found.norm() < AREA.radius_m


def test_arrival_times_that_fit_no_position_in_the_area_are_ignored() -> None:
    mean, covariance = wide_prior(1)
    heard, sigma = arrivals(np.array([[5e3, 5e3]]), 0.0), torch.tensor(SIGMA_M).double()
    found = refine_positions(mean, covariance, heard, sigma, AREA._replace(radius_m=3e3))
    torch.testing.assert_close(found, (mean, covariance))
