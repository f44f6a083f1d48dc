from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.localization.config import GenerateConfig
from training.localization.geometry import SPEED_OF_LIGHT
from training.localization.localizer.clock_offsets import ClockOffsets
from training.localization.synthetic.generate import generate_dataset


def test_offsets_of_clocks_and_their_noise_are_found() -> None:
    made = generate_dataset(GenerateConfig(samples=2000, timing_sigma_ns=500))
    late = np.array([3000, 0, 0, -1000, 0, 0, -2000], np.float32)  # ns
    dataset = replace(made, toa=made.toa + late)
    found = ClockOffsets.fit(dataset, dataset.rows("train"))
    assert found.offset_m == pytest.approx(late * 1e-9 * SPEED_OF_LIGHT, abs=30)
    assert found.sigma_m == pytest.approx(500e-9 * SPEED_OF_LIGHT, rel=0.03)


def test_without_arrivals_nothing_is_said() -> None:
    made = generate_dataset(GenerateConfig(samples=100, timing_sigma_ns=None))
    assert ClockOffsets.fit(made, made.rows("train")).sigma_m is None
