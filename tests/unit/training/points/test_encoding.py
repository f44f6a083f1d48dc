from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.points.encoding import (
    OUTLINE_PARTS,
    Series,
    decode_batch,
    decode_block,
    decode_outlines,
    encode_batch,
    encode_block,
    encode_outline,
    merge,
)
from training.points.limits import MAX_STEP

steps = st.integers(0, MAX_STEP)
values = st.floats(width=64) | st.floats(width=32)
points = st.lists(st.tuples(steps, values), min_size=1, max_size=200)
on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def series(found: list[tuple[int, float]]) -> Series:
    return Series(
        np.array([step for step, _ in found], np.int64), np.array([value for _, value in found])
    )


def bits(found: Series) -> list[tuple[int, bytes]]:
    """Exact, where NaN equals NaN."""
    canonical = np.where(np.isnan(found.values), np.nan, found.values)
    return [
        (step, value.tobytes()) for step, value in zip(found.steps.tolist(), canonical, strict=True)
    ]


@on_a_busy_machine
@given(points)
def test_block_keeps_every_step_and_value(found: list[tuple[int, float]]) -> None:
    given_series = series(found).sorted_unique()
    assert bits(decode_block(encode_block(given_series))) == bits(given_series)


@on_a_busy_machine
@given(st.dictionaries(st.integers(0, 10_000), points, max_size=5))
def test_batch_keeps_the_order_of_arrival(found: dict[int, list[tuple[int, float]]]) -> None:
    batch = encode_batch({number: series(one) for number, one in found.items()})
    decoded = {number: bits(one) for number, one in decode_batch(batch)}
    assert decoded == {number: bits(series(one)) for number, one in found.items()}


@on_a_busy_machine
@given(st.lists(points, max_size=4))
def test_merging_keeps_the_last_value_of_each_step(found: list[list[tuple[int, float]]]) -> None:
    expected = dict(sorted(dict(point for part in found for point in part).items()))
    merged = merge([series(part) for part in found])
    assert merged.steps.tolist() == list(expected)
    np.testing.assert_array_equal(merged.values, list(expected.values()))


@on_a_busy_machine
@given(st.lists(values, min_size=1, max_size=1000))
def test_outline_has_ends_extremes_and_a_value_that_is_not_finite(found: list[float]) -> None:
    given_series = series(list(enumerate(found)))
    outline = decode_outlines([encode_outline(given_series)])
    known = dict(zip(outline.steps.tolist(), outline.values.tolist(), strict=True))
    assert {0, len(found) - 1} <= known.keys()
    assert len(known) <= 3 * OUTLINE_PARTS + 2
    finite = [value for value in found if np.isfinite(value)]
    if finite:
        assert {min(finite), max(finite)} <= set(known.values())
    if len(finite) < len(found):
        assert not all(map(np.isfinite, known.values()))


def test_float32_values_and_even_steps_take_four_bytes_a_point() -> None:
    rng = np.random.default_rng(1)
    stored = Series(
        np.arange(0, 80_000, 10, dtype=np.int64), rng.normal(size=8000).astype(np.float32)
    )
    assert len(encode_block(stored)) < 4.1 * 8000
