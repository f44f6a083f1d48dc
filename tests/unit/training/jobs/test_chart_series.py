from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.jobs.chart_series import downsample_minmax


# Drawing four integers is only slow on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.integers(1, 3000), st.integers(1, 6), st.integers(20, 400), st.integers(0, 2**32 - 1))
def test_downsampling_keeps_the_limit_and_every_extreme(
    count: int, rows: int, limit: int, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, count))
    kept = downsample_minmax(values, limit)
    assert len(kept) <= limit
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert (np.diff(kept) > 0).all()
    for row in values:
        assert row[kept].max() == row.max()
        assert row[kept].min() == row.min()


def test_nan_is_never_an_extreme() -> None:
    values = np.full((1, 500), np.nan)
    values[0, 250] = 3.0
    assert 250 in downsample_minmax(values, 20)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_epochs_up_to_the_limit_are_all_kept(count: int) -> None:
    assert downsample_minmax(np.zeros((2, count)), 20).tolist() == list(range(count))


def test_all_nan_series_keeps_the_first_and_last_epoch() -> None:
    kept = downsample_minmax(np.full((3, 100), np.nan), 20)
    assert (kept[0], kept[-1]) == (0, 99)


def test_first_and_last_epoch_are_kept_without_series() -> None:
    kept = downsample_minmax(np.empty((0, 100)), 20)
    assert (kept[0], kept[-1]) == (0, 99)
    assert len(kept) <= 20
