from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.jobs.chart_series import downsample_minmax


@given(st.integers(1, 3000), st.integers(1, 6), st.integers(20, 400), st.integers(0, 2**32 - 1))
def test_at_most_so_many_stay_and_no_extreme_is_lost(
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


def test_what_is_missing_is_never_an_extreme() -> None:
    values = np.full((1, 500), np.nan)
    values[0, 250] = 3.0
    assert 250 in downsample_minmax(values, 20)
