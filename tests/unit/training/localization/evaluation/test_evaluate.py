from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from training.localization.data.dataset import Dataset
from training.localization.data.splits import AT_RANDOM, INDEPENDENT, describe_split
from training.localization.evaluation.evaluate import evaluate_localizer
from training.localization.evaluation.types import Evaluation
from training.localization.localizer.localizer import Localizer, predict_split
from training.localization.metrics import position_errors


@pytest.fixture(scope="module")
def found(localizer: Localizer, arrays: Dataset) -> Evaluation:
    return evaluate_localizer(localizer, arrays)


@pytest.fixture(scope="module")
def errors(localizer: Localizer, arrays: Dataset) -> np.ndarray:
    rows = arrays.rows("test")
    return position_errors(predict_split(localizer, arrays, rows).mean, arrays.target[rows])


def test_errors_are_computed_on_the_whole_test_split(found: Evaluation, errors: np.ndarray) -> None:
    assert found["test"]["samples"] == len(errors)
    assert found["test"]["rmse_m"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert found["test"]["median_m"] == pytest.approx(np.median(errors))
    assert found["test"]["p95_m"] == pytest.approx(np.percentile(errors, 95))


def test_baselines_bounds_and_definition_are_present(found: Evaluation) -> None:
    assert found["bound_rmse_m"] is not None and found["bound_rmse_m"] > 0
    assert set(found["baselines"]) == {
        "centroid", "weighted_centroid", "nearest_neighbours", "maximum_likelihood",
    }  # fmt: skip
    assert found["good_geometry"]["definition"].startswith("at least 4 receivers")
    assert (found["split"], found["leaks"]) == (describe_split(INDEPENDENT), False)


def test_cdf_ends_at_the_largest_error(found: Evaluation, errors: np.ndarray) -> None:
    cdf = found["cdf"]
    assert (cdf["share"][0], cdf["share"][-1], len(cdf["share"])) == (0, 1, 51)
    assert cdf["model"] == sorted(cdf["model"])
    assert cdf["model"][-1] == pytest.approx(errors.max())
    assert cdf["model"][25] == pytest.approx(np.median(errors))
    assert set(cdf["baselines"]) == set(found["baselines"])


@pytest.mark.parametrize("name", ["by_receivers", "by_gdop"])
def test_grouped_errors_add_up_to_the_total(
    found: Evaluation, errors: np.ndarray, name: Literal["by_receivers", "by_gdop"]
) -> None:
    groups = found[name]
    assert sum(group["samples"] for group in groups) == len(errors)
    squares = sum(group["samples"] * group["rmse_m"] ** 2 for group in groups)
    assert np.sqrt(squares / len(errors)) == pytest.approx(found["test"]["rmse_m"])


def test_largest_errors_come_first(found: Evaluation, errors: np.ndarray) -> None:
    assert len(found["worst"]) == 10
    largest = [sample["error_m"] for sample in found["worst"]]
    assert largest == pytest.approx(np.sort(errors)[::-1][:10])


def test_map_points_have_the_true_positions(found: Evaluation, arrays: Dataset) -> None:
    points = found["points"]
    assert len(points["target"]) == len(points["mean"]) == len(points["covariance"])
    assert len(points["receivers"]) == 7
    assert points["receivers"][2][2] == "Torino"
    east, north = points["receivers"][2][:2]
    assert (east, north) == pytest.approx(tuple(arrays.rx[0, 2, :2]), abs=0.1)


def test_random_split_of_measured_data_is_marked_as_leaking(
    localizer: Localizer, arrays: Dataset
) -> None:
    assert evaluate_localizer(localizer, replace(arrays, split_by=AT_RANDOM))["leaks"]
