from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset
from training.localization.evaluation import bayes_optimum, maximum_likelihood
from training.localization.metrics import position_errors
from training.localization.synthetic.generate import generate_dataset


@pytest.fixture(scope="module")
def strengths() -> Dataset:
    return generate_dataset(GenerateConfig(samples=2000, timing_sigma_ns=None, transmit_dbm=25))


def rmse(found: np.ndarray | None, dataset: Dataset) -> float:
    assert found is not None
    errors = position_errors(found, dataset.target[dataset.rows("test")])
    return float(np.sqrt((errors**2).mean()))


def test_path_loss_is_estimated_although_weak_signals_are_missing(strengths: Dataset) -> None:
    fitted = maximum_likelihood._LikelihoodModel.fit(strengths)
    assert fitted is not None and fitted.path_loss is not None
    assert np.isnan(strengths.rssi).mean() > 0.2
    assert fitted.path_loss.slope == pytest.approx(30, rel=0.05)
    assert fitted.path_loss.sigma == pytest.approx(6, rel=0.05)


def test_arrival_times_make_maximum_likelihood_accurate(arrays: Dataset) -> None:
    assert rmse(maximum_likelihood.estimate_positions(arrays, arrays.rows("test")), arrays) < 2000


def test_posterior_mean_has_the_lowest_rmse(strengths: Dataset) -> None:
    test = strengths.rows("test")
    best = rmse(bayes_optimum.posterior_mean(strengths, test), strengths)
    assert best < rmse(maximum_likelihood.estimate_positions(strengths, test), strengths)
    middle = np.tile(strengths.target[strengths.rows("train")].mean(axis=0), (len(test), 1))
    assert best < 0.7 * rmse(middle, strengths)


def test_posterior_mean_is_unknown_with_arrival_times(arrays: Dataset) -> None:
    assert bayes_optimum.posterior_mean(arrays, arrays.rows("test")) is None


@pytest.mark.parametrize(
    "config",
    [{"shadowing_reach_km": 5.0}, {"shadowing_db": 0.0}],
    ids=["correlated shadowing", "no shadowing"],
)
def test_posterior_mean_is_unknown_if_a_grid_cannot_represent_it(config: dict[str, float]) -> None:
    settings = {"samples": 40, "timing_sigma_ns": None, **config}
    made = generate_dataset(GenerateConfig.model_validate(settings))
    assert bayes_optimum.posterior_mean(made, made.rows("test")) is None


def test_posterior_mean_is_unknown_for_measured_data(strengths: Dataset) -> None:
    measured = replace(strengths, physics=None)
    assert bayes_optimum.posterior_mean(measured, measured.rows("test")) is None


def test_maximum_likelihood_of_no_samples_is_empty(arrays: Dataset) -> None:
    assert maximum_likelihood.estimate_positions(arrays, np.empty(0, int)) is None


def test_maximum_likelihood_does_not_depend_on_the_chunk_size(
    arrays: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = arrays.rows("test")[:12]
    whole = maximum_likelihood.estimate_positions(arrays, rows)
    monkeypatch.setattr(maximum_likelihood, "_MAX_DISTANCES", 32 * 32 * 7 * 5)
    chunked = maximum_likelihood.estimate_positions(arrays, rows)
    assert whole is not None and chunked is not None
    assert np.array_equal(whole, chunked)
