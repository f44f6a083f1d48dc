from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training.localization.config import GenerateConfig
from training.localization.geometry import SPEED_OF_LIGHT
from training.localization.localizer.clock_offsets import (
    ClockOffsets,
    relative_ranges,
    subtract_emission_time,
)
from training.localization.synthetic.generate import generate_dataset


def test_clock_offsets_and_noise_are_estimated() -> None:
    made = generate_dataset(GenerateConfig(samples=2000, timing_sigma_ns=500))
    late = np.array([3000, 0, 0, -1000, 0, 0, -2000], np.float32)  # ns
    dataset = replace(made, toa=made.toa + late)
    clock = ClockOffsets.fit(dataset, dataset.rows("train"))
    assert clock.offset_m == pytest.approx(late * 1e-9 * SPEED_OF_LIGHT, abs=30)
    assert clock.sigma_m == pytest.approx(500e-9 * SPEED_OF_LIGHT, rel=0.03)


def test_outliers_do_not_change_the_estimated_noise() -> None:
    made = generate_dataset(GenerateConfig(samples=2000, timing_sigma_ns=500))
    toa = made.toa.copy()
    toa[::40] += np.float32(1e6) * np.arange(7, dtype=np.float32)
    clock = ClockOffsets.fit(replace(made, toa=toa), made.rows("train"))
    assert clock.sigma_m == pytest.approx(500e-9 * SPEED_OF_LIGHT, rel=0.15)


def test_without_arrival_times_the_noise_is_unknown() -> None:
    made = generate_dataset(GenerateConfig(samples=100, timing_sigma_ns=None))
    assert ClockOffsets.fit(made, made.rows("train")).sigma_m is None


def test_samples_with_a_single_arrival_are_ignored() -> None:
    made = generate_dataset(GenerateConfig(samples=400))
    toa = made.toa.copy()
    toa[:, 1:] = np.nan
    clock = ClockOffsets.fit(replace(made, toa=toa), made.rows("train"))
    assert clock == ClockOffsets((0.0,) * 7, None)


def test_too_few_arrivals_leave_the_noise_unknown() -> None:
    made = generate_dataset(GenerateConfig(samples=400))
    assert ClockOffsets.fit(made, made.rows("train")[:3]).sigma_m is None


def test_clock_offsets_survive_json() -> None:
    clock = ClockOffsets((1.0, -1.0), 3.5)
    assert ClockOffsets.from_dict(json.loads(json.dumps(clock.to_dict()))) == clock


def test_mean_is_taken_over_the_arrivals_of_each_sample() -> None:
    arrivals = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan], [np.nan, 7.0, np.nan]])
    expected = np.array([[-1.0, np.nan, 1.0], [np.nan] * 3, [np.nan, 0.0, np.nan]])
    assert np.array_equal(subtract_emission_time(arrivals), expected, equal_nan=True)


def test_relative_ranges_are_meters_around_the_mean_arrival() -> None:
    toa = np.array([[0.0, 2000.0, np.nan]], np.float32)  # ns
    half = 1000e-9 * SPEED_OF_LIGHT
    expected = [-half, half, np.nan]
    assert relative_ranges(toa)[0] == pytest.approx(expected, nan_ok=True)
