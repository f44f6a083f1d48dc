from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training.localization.data.dataset import Dataset, Receiver
from training.localization.evaluation import report
from training.localization.metrics import Predictions


@pytest.fixture
def rows(arrays: Dataset) -> np.ndarray:
    return arrays.rows("test")


@pytest.fixture
def predicted(arrays: Dataset, rows: np.ndarray) -> Predictions:
    """The error of sample i is i meters to the east."""
    mean = arrays.target[rows].astype(float)
    mean[:, 0] += np.arange(len(rows))
    covariance = np.tile(np.array([[4.0, 1.0], [1.0, 9.0]]), (len(rows), 1, 1))
    return Predictions(mean, covariance)


def test_cdf_has_the_quantiles_of_model_and_baselines() -> None:
    cdf = report.error_cdf(np.arange(101.0), {"centroid": np.arange(0.0, 202.0, 2.0)})
    assert cdf["share"][:3] == [0.0, 0.02, 0.04]
    assert cdf["model"] == pytest.approx(100 * np.array(cdf["share"]))
    assert cdf["baselines"]["centroid"] == pytest.approx(200 * np.array(cdf["share"]))


def test_errors_are_grouped_by_the_receivers_that_heard_the_sample(
    arrays: Dataset, rows: np.ndarray
) -> None:
    counts = arrays.heard[rows].sum(axis=1)
    groups = report.errors_by_receiver_count(arrays, rows, counts * 10.0)
    assert [group["receivers"] for group in groups] == np.unique(counts).tolist()
    for group in groups:
        assert group["samples"] == (counts == group["receivers"]).sum()
        assert group["rmse_m"] == group["median_m"] == group["receivers"] * 10.0


def test_groups_by_gdop_are_adjacent_and_complete(arrays: Dataset, rows: np.ndarray) -> None:
    groups = report.errors_by_gdop(arrays, rows, np.ones(len(rows)))
    assert sum(group["samples"] for group in groups) == len(rows)
    edges = [0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, None]
    for group in groups:
        assert group["to"] == edges[edges.index(group["from"]) + 1]
        assert group["rmse_m"] == 1.0


def test_samples_of_undefined_gdop_are_in_the_last_group(arrays: Dataset, rows: np.ndarray) -> None:
    signals = {name: getattr(arrays, name).copy() for name in ("rssi", "snr", "toa")}
    for values in signals.values():
        values[rows[:5], 1:] = np.nan
    groups = report.errors_by_gdop(replace(arrays, **signals), rows, np.ones(len(rows)))
    assert (groups[-1]["from"], groups[-1]["to"]) == (10.0, None)
    assert groups[-1]["samples"] >= 5


def test_gdop_groups_are_empty_without_receiver_positions(
    arrays: Dataset, rows: np.ndarray
) -> None:
    unknown = replace(arrays, rx=np.full_like(arrays.rx, np.nan))
    assert report.errors_by_gdop(unknown, rows, np.ones(len(rows))) == []


def test_largest_errors_are_named_and_in_descending_order(
    arrays: Dataset, rows: np.ndarray, predicted: Predictions
) -> None:
    ids = tuple(f"s{index}" for index in range(len(arrays)))
    errors = np.arange(float(len(rows)))
    named = replace(arrays, sample_ids=ids)
    largest = report.largest_errors(named, rows, predicted, errors)
    assert [sample["error_m"] for sample in largest] == errors[::-1][:10].tolist()
    assert largest[0]["sample"] == f"s{rows[-1]}"
    assert largest[0]["predicted_lon"] > largest[0]["lon"]
    assert largest[0]["predicted_lat"] == pytest.approx(largest[0]["lat"], abs=1e-5)
    unnamed = report.largest_errors(arrays, rows, predicted, errors)
    assert unnamed[0]["sample"] == str(rows[-1])


def test_map_points_are_limited_and_the_same_each_time(
    arrays: Dataset, rows: np.ndarray, predicted: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_MAX_POINTS", 20)
    points = report.sample_predictions(arrays, rows, predicted)
    assert len(points["target"]) == len(points["mean"]) == len(points["covariance"]) == 20
    assert points == report.sample_predictions(arrays, rows, predicted)
    delta = np.array(points["mean"]) - np.array(points["target"])
    assert np.all(np.diff(delta[:, 0]) > 0)  # in the order of the samples
    assert points["covariance"][0] == [4.0, 1.0, 9.0]


def test_map_points_are_rounded_to_centimeters(
    arrays: Dataset, rows: np.ndarray, predicted: Predictions
) -> None:
    points = report.sample_predictions(arrays, rows, predicted)
    assert np.array(points["mean"]) == pytest.approx(np.round(points["mean"], 2), abs=0)
    assert points["frame"] == {"lat0": arrays.frame.lat0, "lon0": arrays.frame.lon0}


def test_receivers_without_a_position_are_not_on_the_map(
    arrays: Dataset, rows: np.ndarray, predicted: Predictions
) -> None:
    receivers = (Receiver("bus"), *arrays.receivers[1:])
    points = report.sample_predictions(replace(arrays, receivers=receivers), rows, predicted)
    assert [receiver[2] for receiver in points["receivers"]] == [
        receiver.id for receiver in arrays.receivers[1:]
    ]


def test_report_is_plain_json(arrays: Dataset, rows: np.ndarray, predicted: Predictions) -> None:
    errors = np.ones(len(rows))
    for part in (
        report.error_cdf(errors, {"centroid": errors}),
        report.errors_by_receiver_count(arrays, rows, errors),
        report.errors_by_gdop(arrays, rows, errors),
        report.largest_errors(arrays, rows, predicted, errors),
        report.sample_predictions(arrays, rows, predicted),
    ):
        assert json.loads(json.dumps(part)) == part
