from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training.localization.data.dataset import Dataset
from training.localization.localizer.clock_offsets import ClockOffsets
from training.localization.localizer.normalizer import Normalizer, Scale

STORED = """{"centre": [1.5, -2.5], "metres": 4000.0,
 "rssi": {"level": [-90.0, -80.0], "weakest": [-110.0, -100.0], "spread": 7.5},
 "snr": {"level": [20.0, 30.0], "weakest": [6.0, 7.0], "spread": 5.0},
 "toa_ns": 250.0, "timing": {"offset_m": [3.0, -3.0], "sigma_m": null}, "moves": [false, true]}"""


@pytest.fixture
def normalizer(arrays: Dataset) -> Normalizer:
    return Normalizer.fit(arrays, arrays.rows("train"))


def test_normalizer_of_an_existing_checkpoint_loads_and_is_stored_alike() -> None:
    normalizer = Normalizer.from_dict(json.loads(STORED))
    assert (normalizer.center, normalizer.meters_per_unit) == ((1.5, -2.5), 4000.0)
    assert normalizer.rssi == Scale((-90.0, -80.0), (-110.0, -100.0), 7.5)
    assert normalizer.clock_offsets == ClockOffsets((3.0, -3.0), None)
    assert normalizer.mobile == (False, True)
    assert normalizer.token_center is None
    assert json.dumps(normalizer.to_dict()) == json.dumps(json.loads(STORED))


def test_normalizer_survives_json(normalizer: Normalizer) -> None:
    for center in (None, ((0.5, -1.25), (1.0, 0.0))):
        centered = replace(normalizer, token_center=center)
        assert Normalizer.from_dict(json.loads(json.dumps(centered.to_dict()))) == centered


def test_units_have_unit_rms_and_convert_back_to_meters(
    normalizer: Normalizer, arrays: Dataset
) -> None:
    units = normalizer.positions_to_units(arrays.target)
    back = units * normalizer.meters_per_unit + np.array(normalizer.center)
    assert back == pytest.approx(arrays.target, abs=0.1)
    assert np.sqrt((units**2).mean()) == pytest.approx(1, rel=0.2)


def test_normalizer_is_fitted_on_the_given_rows_only(arrays: Dataset) -> None:
    rows = arrays.rows("train")[:50]
    normalizer = Normalizer.fit(arrays, rows)
    assert normalizer.center == pytest.approx(arrays.target[rows].mean(axis=0), rel=1e-4)


def test_scale_standardizes_to_unit_variance_and_fills_in_the_weakest() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal([-90.0, -60.0], 5.0, (5000, 2))
    signal[0] = np.nan
    scale = Scale.fit(signal)
    standardized = scale.standardize(signal)
    assert standardized[1:].std() == pytest.approx(1, rel=0.02)
    assert scale.level == pytest.approx([-90, -60], abs=0.3)
    assert standardized[0] == pytest.approx(standardized[1:].min(axis=0))


def test_level_of_a_receiver_with_few_readings_is_close_to_the_overall_level() -> None:
    signal = np.full((1001, 2), np.nan)
    signal[:1000, 0] = -80.0
    signal[0, 1] = -30.0
    level = Scale.fit(signal).level
    assert level[0] == pytest.approx(-80, abs=0.1)
    assert -80 < level[1] < -70


def test_scaling_without_readings_changes_nothing() -> None:
    scale = Scale.fit(np.full((3, 2), np.nan))
    assert scale == Scale((0.0, 0.0), (0.0, 0.0), 1.0)


def test_constant_signal_is_not_divided_by_zero() -> None:
    scale = Scale.fit(np.full((3, 1), -80.0))
    assert scale.spread == 1.0
    assert np.isfinite(scale.standardize(np.array([[-80.0]]))).all()
