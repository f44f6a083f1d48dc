from __future__ import annotations

import json
from typing import Any

import numpy as np

from training.jobs.history import EMPTY


def rows(*metrics: dict[str, Any], after: int = 0) -> list[tuple[int, float, str]]:
    return [(after + 1 + index, 0.5, json.dumps(values)) for index, values in enumerate(metrics)]


def test_history_extended_in_parts_equals_the_whole() -> None:
    metrics = [
        {"loss": 1.0 / epoch, "rmse": None if epoch == 2 else epoch} for epoch in range(1, 7)
    ]
    whole = EMPTY.extended(rows(*metrics))
    parts = EMPTY.extended(rows(*metrics[:4])).extended([]).extended(rows(*metrics[4:], after=4))
    assert parts.epochs.tolist() == whole.epochs.tolist() == [1, 2, 3, 4, 5, 6]
    assert parts.seconds.tolist() == [0.5] * 6
    np.testing.assert_array_equal(parts.metrics, whole.metrics)
    np.testing.assert_array_equal(parts.series("rmse"), [1, np.nan, 3, 4, 5, 6])


def test_metric_may_appear_later_and_disappear_again() -> None:
    first = EMPTY.extended(rows({"loss": 1.0}, {"loss": 2.0, "new": 3.0}))
    later = first.extended(rows({"loss": 4.0}, {"newer": 5.0}, after=2))
    np.testing.assert_array_equal(later.series("new"), [np.nan, 3, np.nan, np.nan])
    np.testing.assert_array_equal(later.series("loss"), [1, 2, 4, np.nan])
    assert later.newest == ("newer",)
    assert np.isnan(later.series("never")).all() and later.series("never").shape == (4,)


def test_history_without_epochs_is_empty() -> None:
    assert EMPTY.newest == () and EMPTY.series("loss").shape == (0,)
