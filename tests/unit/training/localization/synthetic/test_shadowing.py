from __future__ import annotations

import numpy as np
import pytest

from training.localization.synthetic.shadowing import ShadowMap


def test_correlation_falls_exponentially_with_distance() -> None:
    shadows = ShadowMap(np.random.default_rng(0), 200, reach_m=1000)
    positions = np.array([[0.0, 0.0], [100, 0], [1000, 0], [20_000, 0]])
    values = shadows.values_at(positions)  # [4, R]
    correlation = np.atleast_2d(np.corrcoef(values))[0]
    assert values.std() == pytest.approx(1, rel=0.1)
    assert correlation[1] == pytest.approx(np.exp(-0.1), abs=0.1)
    assert correlation[2] == pytest.approx(np.exp(-1), abs=0.2)
    assert abs(correlation[3]) < 0.25


def test_correlation_is_the_same_in_every_direction() -> None:
    shadows = ShadowMap(np.random.default_rng(1), 400, reach_m=1000)
    positions = np.array([[0.0, 0.0], [500, 0], [0, 500], [-354, 354]])
    correlation = np.atleast_2d(np.corrcoef(shadows.values_at(positions)))[0, 1:]
    assert correlation == pytest.approx(np.full(3, np.exp(-0.5)), abs=0.12)


def test_receivers_have_independent_maps_of_zero_mean_and_unit_variance() -> None:
    shadows = ShadowMap(np.random.default_rng(2), 5, reach_m=100)
    positions = np.random.default_rng(3).uniform(-50_000, 50_000, (4000, 2))
    values = shadows.values_at(positions)
    assert values.mean(axis=0) == pytest.approx(np.zeros(5), abs=0.1)
    assert values.std(axis=0) == pytest.approx(np.ones(5), rel=0.1)
    assert np.abs(np.corrcoef(values.T) - np.eye(5)).max() < 0.1


def test_same_random_stream_gives_the_same_map() -> None:
    positions = np.array([[10.0, 20.0], [3000.0, 4000.0]])
    first, same = (ShadowMap(np.random.default_rng(4), 3, 500).values_at(positions) for _ in "ab")
    assert np.array_equal(first, same)
