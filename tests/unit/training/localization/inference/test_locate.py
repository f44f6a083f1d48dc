"""Predictions from rows of measurements."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.localization.data.dataset import Dataset, Receiver
from training.localization.geometry import LocalCoordinates
from training.localization.inference import locate as locate_module
from training.localization.inference.locate import InvalidMeasurementError, ellipse
from training.localization.inference.saved_model import SavedModel, load_model
from training.localization.localizer.localizer import predict_split
from training.programs.positions import Position


@pytest.fixture(scope="module")
def model(model_file: Path) -> SavedModel:
    return load_model(model_file)


def locate(*arguments: Any) -> list[Position]:
    return [one for batch in locate_module.locate(*arguments) for one in batch]


def row(receiver: str = "Torino", **fields: Any) -> Any:
    return {"receiver_id": receiver, "rssi_dbm": -80.0, **fields}


def rows_of(arrays: Dataset, sample: int, name: str | None = None) -> list[Any]:
    """The measurements of a sample, as a client would send them."""
    rows: list[Any] = []
    for index, receiver in enumerate(arrays.receivers):
        found: dict[str, Any] = {"receiver_id": receiver.id, "sample_id": name}
        for field, values in (("rssi_dbm", arrays.rssi), ("snr_db", arrays.snr),
                              ("toa_ns", arrays.toa)):  # fmt: skip
            if math.isfinite(values[sample, index]):
                found[field] = float(values[sample, index])
        if len(found) > 2:
            rows.append(found)
    return rows


def test_each_sample_gets_one_position_in_order(model: SavedModel, arrays: Dataset) -> None:
    first, second = rows_of(arrays, 0, "first"), rows_of(arrays, 1, "second")
    mixed = [one for pair in zip(first, second, strict=False) for one in pair]
    mixed += first[len(second) :] + second[len(first) :]
    found = locate(model, mixed)
    assert [one["sample_id"] for one in found] == ["first", "second"]
    (alone,) = locate(model, rows_of(arrays, 1))
    assert alone["sample_id"] == ""
    assert found[1]["lat"] == pytest.approx(alone["lat"], abs=1e-6)


def test_position_has_the_local_coordinates_of_its_dataset(
    model: SavedModel, arrays: Dataset
) -> None:
    (found,) = locate(model, rows_of(arrays, 0))
    assert "x_m" not in found
    coordinates = LocalCoordinates(found["lat"], found["lon"], 12.5, -3.0)
    (local,) = locate(replace(model, coordinates=coordinates), rows_of(arrays, 0))
    assert (local["x_m"], local["y_m"]) == pytest.approx((12.5, -3.0), abs=1e-6)
    assert local["lat"] == found["lat"]


def test_95_percent_ellipse_contains_the_68_percent_one(model: SavedModel, arrays: Dataset) -> None:
    (found,) = locate(model, rows_of(arrays, 0))
    for axis in ("semi_major_m", "semi_minor_m"):
        assert found["ellipse_95"][axis] > found["ellipse_68"][axis] > 0
    assert np.linalg.eigvalsh(found["covariance_m2"]).min() > 0


def test_times_are_relative_to_any_clock(model: SavedModel, arrays: Dataset) -> None:
    rows = rows_of(arrays, 0)
    later: list[Any] = [
        {**one, "toa_ns": one["toa_ns"] + 1e6} if "toa_ns" in one else one for one in rows
    ]
    (first,), (second,) = locate(model, rows), locate(model, later)
    assert second["lat"] == pytest.approx(first["lat"], abs=1e-4)


def test_receiver_out_of_service_differs_from_a_silent_one(
    model: SavedModel, arrays: Dataset
) -> None:
    rows = [one for one in rows_of(arrays, 0) if one["receiver_id"] != "Torino"]
    (silent,), (absent,) = locate(model, rows), locate(model, rows, ["Torino"])
    assert (silent["lat"], silent["lon"]) != (absent["lat"], absent["lon"])


@pytest.mark.parametrize(
    ("rows", "out_of_service", "field", "reason"),
    [
        ([row("Roma")], [], "measurements.0.receiver_id", "has no receiver 'Roma'; it has"),
        ([row(), row()], [], "measurements.1", "Receiver 'Torino' occurs twice"),
        ([{"receiver_id": "Torino"}], [], "measurements.0", "give at least one of rssi_dbm"),
        ([row()], ["Roma"], "out_of_service", "has no receiver 'Roma'"),
        ([row(rx_lat=45.0)], [], "measurements.0", "Give both rx_lat and rx_lon, or neither."),
        ([row(), row("Genova", rx_lon=7.0)], [], "measurements.1", "Give both rx_lat and rx_lon"),
    ],
)
def test_invalid_row_is_named(
    model: SavedModel, rows: list[Any], out_of_service: list[str], field: str,
    reason: str,
) -> None:  # fmt: skip
    with pytest.raises(InvalidMeasurementError) as refused:
        locate(model, rows, out_of_service)
    assert refused.value.field == field
    assert reason in refused.value.reason


def test_position_of_a_mobile_receiver_replaces_the_known_one(
    model: SavedModel, arrays: Dataset
) -> None:
    rows = rows_of(arrays, 0)
    moved = [{**rows[0], "rx_lat": 45.5, "rx_lon": 7.9, "rx_alt_m": 300.0}, *rows[1:]]
    (found,), (other,) = locate(model, rows), locate(model, moved)
    assert found["lat"] != other["lat"]


def test_samples_are_located_in_batches_of_bounded_size(
    model: SavedModel, arrays: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Any] = [
        {**found, "sample_id": f"s{sample}"}
        for sample in range(5)
        for found in rows_of(arrays, sample)
    ]
    together = locate(model, rows)
    monkeypatch.setattr(locate_module, "MAX_BATCH_CELLS", 2 * len(model.receivers))
    apart = locate(model, rows)
    assert [one["sample_id"] for one in apart] == [one["sample_id"] for one in together]
    for one, other in zip(apart, together, strict=True):
        assert one["lat"] == pytest.approx(other["lat"], abs=1e-6)
    rows.append({**rows[0], "sample_id": "s4", "receiver_id": "Roma"})
    with pytest.raises(InvalidMeasurementError) as refused:
        locate(model, rows)
    assert refused.value.field == f"measurements.{len(rows) - 1}.receiver_id"


@pytest.mark.parametrize(
    ("covariance", "major", "minor", "azimuth"),
    [
        ([[4, 0], [0, 1]], 2, 1, 90),
        ([[1, 0], [0, 4]], 2, 1, 0),
        ([[2.5, 1.5], [1.5, 2.5]], 2, 1, 45),
        ([[2.5, -1.5], [-1.5, 2.5]], 2, 1, 135),
    ],
)
def test_ellipse_axes_and_azimuth_are_correct(
    covariance: list[list[float]], major: float, minor: float, azimuth: float
) -> None:
    radius = math.sqrt(-2 * math.log(1 - 0.68))
    found = ellipse(np.array(covariance, float), 0.68)
    assert found["semi_major_m"] == pytest.approx(radius * major)
    assert found["semi_minor_m"] == pytest.approx(radius * minor)
    assert found["azimuth_deg"] % 180 == pytest.approx(azimuth, abs=1e-6)


def test_silent_receiver_of_unknown_position_is_in_service(
    model: SavedModel, arrays: Dataset
) -> None:
    """As the import has it, so that predictions are as good as the evaluation."""
    unplaced = replace(
        model,
        receivers=tuple(Receiver(receiver.id) for receiver in model.receivers),
        stationary=(True,) * len(model.receivers),
    )
    silent = np.flatnonzero((~arrays.heard).any(axis=1))[:1]
    dataset = replace(arrays, rx=np.full_like(arrays.rx, np.nan))
    assert dataset.stationary.all()
    (found,) = locate(unplaced, rows_of(arrays, int(silent[0])))
    expected = predict_split(model.localizer, dataset, silent)
    assert found["covariance_m2"] == pytest.approx(expected.covariance[0], rel=1e-3)


def test_receiver_that_has_moved_is_not_stationary(arrays: Dataset) -> None:
    mobile = (Receiver("van"), *arrays.receivers[1:])
    assert replace(arrays, receivers=mobile).stationary.tolist() == [False] + [True] * 6
