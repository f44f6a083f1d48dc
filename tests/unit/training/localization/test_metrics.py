from __future__ import annotations

import numpy as np
import pytest

from training.localization import metrics
from training.localization.metrics import Predictions


@pytest.fixture
def honest() -> tuple[Predictions, np.ndarray]:
    """20,000 places drawn from just the Gaussians that are claimed."""
    rng = np.random.default_rng(1)
    covariance = np.array([[4.0, 1.0], [1.0, 9.0]])
    mean = rng.normal(0, 100, (20_000, 2))
    places = mean + rng.multivariate_normal([0, 0], covariance, len(mean))
    return Predictions(mean, np.tile(covariance, (len(mean), 1, 1))), places


def test_rmse_is_over_all_samples() -> None:
    summary = metrics.error_summary(np.array([3.0, 4.0, 0.0, 0.0]))
    assert summary["rmse_m"] == pytest.approx(2.5)
    assert summary["mean_m"] == pytest.approx(1.75)
    assert metrics.rmse(np.array([])) is None


def test_honest_uncertainty_covers_what_it_says(
    honest: tuple[Predictions, np.ndarray],
) -> None:
    assert metrics.coverage(*honest, 0.68) == pytest.approx(0.68, abs=0.01)
    assert metrics.coverage(*honest, 0.95) == pytest.approx(0.95, abs=0.01)
    assert metrics.conformal_temperature(*honest) == pytest.approx(1, abs=0.03)


def test_a_temperature_mends_overconfidence(honest: tuple[Predictions, np.ndarray]) -> None:
    predicted, places = honest
    vain = predicted.with_temperature(0.25)
    assert metrics.coverage(vain, places, 0.68) < 0.4
    mended = vain.with_temperature(metrics.conformal_temperature(vain, places))
    assert metrics.coverage(mended, places, 0.68) == pytest.approx(0.68, abs=0.01)


def test_caution_is_small_where_groups_are_many_and_larger_where_they_are_few(
    honest: tuple[Predictions, np.ndarray],
) -> None:
    some = Predictions(honest[0].mean[:2000], honest[0].covariance[:2000])
    plain = metrics.conformal_temperature(some, honest[1][:2000])
    many, few = (
        metrics.conservative_temperature(some, honest[1][:2000], np.arange(2000) % groups)
        for groups in (2000, 8)
    )
    assert plain < many < 1.1 * plain
    hard = np.where(np.arange(2000) % 8 < 3, 9.0, 1.0)[:, None, None]
    patchy = Predictions(some.mean, some.covariance / hard)
    few = metrics.conservative_temperature(patchy, honest[1][:2000], np.arange(2000) % 8)
    assert few > 1.2 * metrics.conformal_temperature(patchy, honest[1][:2000])


def test_the_likelihood_is_the_gaussians(honest: tuple[Predictions, np.ndarray]) -> None:
    predicted, places = honest
    entropy = 0.5 * np.log((2 * np.pi * np.e) ** 2 * np.linalg.det(predicted.covariance[0]))
    assert metrics.negative_log_likelihood(predicted, places) == pytest.approx(entropy, abs=0.02)


def test_an_empty_good_geometry_is_none_and_no_copy(
    honest: tuple[Predictions, np.ndarray],
) -> None:
    predicted, places = honest
    found = metrics.validation_metrics(predicted, places, np.zeros(len(places), bool))
    assert found["val_rmse_good_geom"] is None
    assert found["val_good_geom_samples"] == 0
    assert found["val_rmse"] is not None
