from __future__ import annotations

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


def test_the_law_of_path_loss_is_found_although_the_weak_are_missing(strengths: Dataset) -> None:
    fitted = maximum_likelihood._LikelihoodModel.fit(strengths)
    assert fitted is not None and fitted.path_loss is not None
    assert np.isnan(strengths.rssi).mean() > 0.2
    assert fitted.path_loss.slope == pytest.approx(30, rel=0.05)
    assert fitted.path_loss.sigma == pytest.approx(6, rel=0.05)


def test_arrivals_make_the_likeliest_place_sharp(arrays: Dataset) -> None:
    assert rmse(maximum_likelihood.estimate_positions(arrays, arrays.rows("test")), arrays) < 2000


def test_nobody_beats_the_mean_of_the_posterior(strengths: Dataset) -> None:
    test = strengths.rows("test")
    best = rmse(bayes_optimum.posterior_mean(strengths, test), strengths)
    assert best < rmse(maximum_likelihood.estimate_positions(strengths, test), strengths)
    middle = np.tile(strengths.target[strengths.rows("train")].mean(axis=0), (len(test), 1))
    assert best < 0.7 * rmse(middle, strengths)


def test_with_arrivals_a_grid_is_too_coarse(arrays: Dataset) -> None:
    assert bayes_optimum.posterior_mean(arrays, arrays.rows("test")) is None
