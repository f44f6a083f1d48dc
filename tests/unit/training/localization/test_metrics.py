from __future__ import annotations

import numpy as np
import pytest

from training.localization import metrics
from training.localization.metrics import Predictions


@pytest.fixture
def calibrated() -> tuple[Predictions, np.ndarray]:
    """20,000 targets drawn from the predicted Gaussians."""
    rng = np.random.default_rng(1)
    covariance = np.array([[4.0, 1.0], [1.0, 9.0]])
    mean = rng.normal(0, 100, (20_000, 2))
    targets = mean + rng.multivariate_normal([0, 0], covariance, len(mean))
    return Predictions(mean, np.tile(covariance, (len(mean), 1, 1))), targets


def test_position_errors_are_euclidean_distances() -> None:
    errors = metrics.position_errors(np.array([[3.0, 4.0], [1, 1]]), np.zeros((2, 2)))
    assert errors == pytest.approx([5, np.sqrt(2)])


def test_error_summary_is_over_all_samples() -> None:
    summary = metrics.error_summary(np.array([3.0, 4.0, 0.0, 0.0]))
    assert summary["rmse_m"] == pytest.approx(2.5)
    assert summary["mean_m"] == pytest.approx(1.75)
    assert summary["median_m"] == pytest.approx(1.5)


def test_error_percentiles_are_interpolated() -> None:
    summary = metrics.error_summary(np.arange(101.0))
    assert (summary["p68_m"], summary["p95_m"]) == pytest.approx((68, 95))


def test_rmse_of_no_samples_is_none() -> None:
    assert metrics.rmse(np.array([])) is None


def test_mahalanobis_radius_is_the_chi_squared_quantile() -> None:
    assert metrics.mahalanobis_radius_squared(0.95) == pytest.approx(5.9915, abs=1e-4)


def test_squared_mahalanobis_averages_two_for_calibrated_predictions(
    calibrated: tuple[Predictions, np.ndarray],
) -> None:
    assert metrics.squared_mahalanobis(*calibrated).mean() == pytest.approx(2, rel=0.03)
    assert metrics.maximum_likelihood_temperature(*calibrated) == pytest.approx(1, rel=0.03)


def test_coverage_of_calibrated_predictions_equals_the_level(
    calibrated: tuple[Predictions, np.ndarray],
) -> None:
    assert metrics.coverage(*calibrated, 0.68) == pytest.approx(0.68, abs=0.01)
    assert metrics.coverage(*calibrated, 0.95) == pytest.approx(0.95, abs=0.01)
    assert metrics.conformal_temperature(*calibrated) == pytest.approx(1, abs=0.03)


def test_conformal_temperature_corrects_overconfidence(
    calibrated: tuple[Predictions, np.ndarray],
) -> None:
    predicted, targets = calibrated
    overconfident = predicted.with_temperature(0.25)
    assert metrics.coverage(overconfident, targets, 0.68) < 0.4
    temperature = metrics.conformal_temperature(overconfident, targets)
    corrected = overconfident.with_temperature(temperature)
    assert metrics.coverage(corrected, targets, 0.68) == pytest.approx(0.68, abs=0.01)


def test_temperature_is_positive_even_for_perfect_predictions() -> None:
    perfect = Predictions(np.zeros((5, 2)), np.tile(np.eye(2), (5, 1, 1)))
    assert metrics.conformal_temperature(perfect, np.zeros((5, 2))) > 0
    assert metrics.maximum_likelihood_temperature(perfect, np.zeros((5, 2))) > 0


def test_conservative_margin_is_small_for_many_groups_and_larger_for_few(
    calibrated: tuple[Predictions, np.ndarray],
) -> None:
    some = Predictions(calibrated[0].mean[:2000], calibrated[0].covariance[:2000])
    targets = calibrated[1][:2000]
    plain = metrics.conformal_temperature(some, targets)
    many = metrics.conservative_temperature(some, targets, np.arange(2000))
    assert plain < many < 1.1 * plain
    hard = np.where(np.arange(2000) % 8 < 3, 9.0, 1.0)[:, None, None]
    uneven = Predictions(some.mean, some.covariance / hard)
    few = metrics.conservative_temperature(uneven, targets, np.arange(2000) % 8)
    assert few > 1.2 * metrics.conformal_temperature(uneven, targets)


def test_conservative_temperature_has_no_margin_with_very_many_groups(
    calibrated: tuple[Predictions, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted, targets = calibrated
    monkeypatch.setattr(metrics, "_MAX_BOOTSTRAP_GROUPS", 100)
    temperature = metrics.conservative_temperature(predicted, targets, np.arange(len(targets)))
    assert temperature == metrics.conformal_temperature(predicted, targets)


def test_likelihood_of_calibrated_predictions_is_the_entropy(
    calibrated: tuple[Predictions, np.ndarray],
) -> None:
    predicted, targets = calibrated
    entropy = 0.5 * np.log((2 * np.pi * np.e) ** 2 * np.linalg.det(predicted.covariance[0]))
    assert metrics.negative_log_likelihood(predicted, targets) == pytest.approx(entropy, abs=0.02)


def test_rmse_of_an_empty_good_geometry_is_none(
    calibrated: tuple[Predictions, np.ndarray],
) -> None:
    predicted, targets = calibrated
    found = metrics.validation_metrics(predicted, targets, np.zeros(len(targets), bool))
    assert found["val_rmse_good_geom"] is None
    assert found["val_good_geom_samples"] == 0
    assert found["val_rmse"] is not None


def test_good_geometry_metrics_are_of_the_masked_samples_only(
    calibrated: tuple[Predictions, np.ndarray],
) -> None:
    predicted, targets = calibrated
    good = np.arange(len(targets)) < 10
    found = metrics.validation_metrics(predicted, targets, good)
    errors = metrics.position_errors(predicted.mean, targets)
    assert found["val_rmse_good_geom"] == metrics.rmse(errors[:10])
    assert found["val_good_geom_samples"] == 10
