"""Properties of every trained model, and of the file that stores it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.localization.config import GenerateConfig, TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.loop import fit
from training.localization.fit.state import TrainState
from training.localization.inference import locate, saved_model
from training.localization.inference.locate import InvalidMeasurementError
from training.localization.inference.saved_model import ModelError
from training.localization.localizer.localizer import Localizer, predict_split
from training.localization.synthetic.generate import generate_dataset

ROWS: list[locate.Row] = [
    {"receiver_id": "Torino", "rssi_dbm": -80.0, "toa_ns": 0.0},
    {"receiver_id": "Genova", "rssi_dbm": -100.0, "toa_ns": 3e5},
    {"receiver_id": "Coazze", "rssi_dbm": -90.0, "toa_ns": 1e5},
    {"receiver_id": "Montanaro", "rssi_dbm": -85.0, "toa_ns": 2e4},
]


@pytest.fixture(scope="module")
def model(model_file):  # type: ignore[no-untyped-def]
    return saved_model.load_model(model_file)


def test_loaded_model_predicts_the_same_as_the_saved_one(
    model: saved_model.SavedModel, localizer: Localizer, arrays: Dataset
) -> None:
    rows = arrays.rows("test")
    before, after = (
        predict_split(localizer, arrays, rows),
        predict_split(model.localizer, arrays, rows),
    )
    assert np.array_equal(before.mean, after.mean)
    assert np.array_equal(before.covariance, after.covariance)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(ROWS))
def test_order_of_measurements_does_not_matter(
    model: saved_model.SavedModel, order: list[locate.Row]
) -> None:
    assert list(locate.locate(model, order)) == list(locate.locate(model, ROWS))


def test_receiver_out_of_service_does_not_change_the_prediction(
    localizer: Localizer, arrays: Dataset
) -> None:
    rows, off = arrays.rows("test"), arrays.in_service.copy()
    off[:, 3] = False
    silent = {name: getattr(arrays, name).copy() for name in ("rssi", "snr", "toa")}
    for values in silent.values():
        values[:, 3] = np.nan
    gone = replace(arrays, in_service=off, **silent)
    loud = replace(gone, rx=np.where(np.arange(7)[:, None] == 3, 5e4, gone.rx))
    assert np.array_equal(
        predict_split(localizer, gone, rows).mean, predict_split(localizer, loud, rows).mean
    )


def test_predictions_are_translation_invariant() -> None:
    here = generate_dataset(GenerateConfig(samples=200, seed=5))
    shift = np.array([4096.0, -8192.0], np.float32)
    there = replace(
        here,
        target=here.target + shift,
        rx=np.ascontiguousarray(here.rx + np.append(shift, np.float32(0))),
    )
    predictions = []
    for dataset in (here, there):
        state = TrainState.initial(TrainConfig(epochs=1, hidden=16, layers=1, heads=2), dataset)
        list(fit(state, dataset))
        predictions.append(
            predict_split(Localizer(state.model, state.normalizer), dataset, dataset.rows("test"))
        )
    assert (
        np.abs(predictions[1].mean - predictions[0].mean - shift).max() < 200
    )  # of some 100 km, in 32 bits


def test_samples_are_located_separately(model: saved_model.SavedModel) -> None:
    rows: list[locate.Row] = [{**row, "sample_id": name} for row in ROWS for name in ("one", "two")]
    (located,) = locate.locate(model, rows)
    assert [position["sample_id"] for position in located] == ["one", "two"]
    # Sums over the rows of a batch round differently.
    assert located[0]["lat"] == pytest.approx(located[1]["lat"], abs=1e-9)
    assert located[0]["ellipse_95"]["semi_major_m"] > located[0]["ellipse_68"]["semi_major_m"]


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"receiver_id": "Roma", "rssi_dbm": -80}, "measurements.4.receiver_id", "has no"),
        ({"receiver_id": "Torino", "rssi_dbm": -80}, "measurements.4", "occurs twice"),
        ({"receiver_id": "Milano-Baggio"}, "measurements.4", "No signal"),
    ],
)
def test_invalid_measurement_is_an_error_that_names_the_field(
    model: saved_model.SavedModel, row: locate.Row, field: str, reason: str
) -> None:
    with pytest.raises(InvalidMeasurementError, match=reason) as refused:
        list(locate.locate(model, [*ROWS, row]))
    assert refused.value.field == field


def test_ellipse_points_in_the_direction_of_the_larger_variance() -> None:
    found = locate.ellipse(np.diag([4.0, 1.0]), 0.68)
    assert found["azimuth_deg"] == pytest.approx(90)
    assert found["semi_major_m"] == pytest.approx(2 * found["semi_minor_m"])


def test_damaged_model_is_an_error(model_file: Path, tmp_path: Path) -> None:
    for path in model_file.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        saved_model.load_model(tmp_path / "model.safetensors")
