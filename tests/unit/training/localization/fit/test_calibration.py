from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.localization import metrics
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.calibration import calibrate
from training.localization.fit.state import TrainState
from training.localization.localizer.localizer import Localizer, predict_split


@pytest.fixture
def state(trained_state: TrainState) -> TrainState:
    return trained_state


def test_ellipses_cover_at_least_their_level_of_the_validation_split(
    localizer: Localizer, arrays: Dataset
) -> None:
    rows = arrays.rows("val")
    predicted = predict_split(localizer, arrays, rows)
    assert metrics.coverage(predicted, arrays.target[rows], 0.68) >= 0.68
    wider = predicted.with_temperature(localizer.stretch_95)
    assert metrics.coverage(wider, arrays.target[rows], 0.95) >= 0.95


def test_refinement_is_kept_if_it_lowers_the_validation_error(localizer: Localizer) -> None:
    assert localizer.refined


def test_refinement_is_dropped_if_it_raises_the_validation_error(
    state: TrainState, arrays: Dataset
) -> None:
    """Arrival times that have nothing to do with the positions of the validation split."""
    toa = arrays.toa.copy()
    rows = arrays.rows("val")
    noise = np.random.default_rng(0).normal(0, 1e6, (len(rows), 7))
    toa[rows] += noise.astype(np.float32)
    assert not calibrate(state, replace(arrays, toa=toa)).refined


def test_refinement_is_off_without_arrival_times(arrays: Dataset) -> None:
    untimed = replace(arrays, toa=np.full_like(arrays.toa, np.nan))
    state = TrainState.initial(TrainConfig(hidden=16, heads=2, layers=1, portfolio=False), untimed)
    assert not calibrate(state, untimed).refined


def test_refinement_can_be_disabled_by_the_config(arrays: Dataset) -> None:
    config = TrainConfig(hidden=16, heads=2, layers=1, refine=False, portfolio=False)
    assert not calibrate(TrainState.initial(config, arrays), arrays).refined
