from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.points.encoding import (
    OUTLINE_PARTS,
    TIMES,
    Batch,
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
BLOCK_OF_0_2 = (
    "010003000000020000000000000000000000000000000304000000000000e03f000000000000f87f"
    "9a9999999999b93f"
)
BATCH_OF_0_2 = (
    "0200000000000000020000000200000002000000040000000000000004000000000000000400000000000000"
    "04000000000000000000000065cdcd410000800065cdcd41000000000000e03f000000000000d03f"
)
on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def series(found: list[tuple[int, float]]) -> Series:
    return Series(
        np.array([step for step, _ in found], np.int64), np.array([value for _, value in found])
    )


def bits(found: Series) -> list[tuple[int, bytes, bytes]]:
    """Steps, values and times, exact, where NaN equals NaN."""
    columns = (
        np.where(np.isnan(one), np.nan, one).tolist() for one in (found.values, found.known_times())
    )
    return [
        (step, np.float64(value).tobytes(), np.float64(time).tobytes())
        for step, value, time in zip(found.steps.tolist(), *columns, strict=True)
    ]


@on_a_busy_machine
@given(points, st.data())
def test_block_keeps_every_step_value_and_time(
    found: list[tuple[int, float]], data: st.DataObject
) -> None:
    times = data.draw(st.none() | st.lists(values, min_size=len(found), max_size=len(found)))
    given_series = replace(
        series(found), times=None if times is None else np.array(times)
    ).ordered()  # fmt: skip
    assert bits(decode_block(encode_block(given_series))) == bits(given_series)


@on_a_busy_machine
@given(st.lists(st.tuples(steps, st.floats(0, 2e9), st.dictionaries(st.integers(2, 9), values)),
                min_size=1), st.booleans())  # fmt: skip
def test_batch_keeps_the_order_of_arrival(
    found: list[tuple[int, float, dict[int, float]]], replaces: bool
) -> None:
    numbers = {number for _, _, named in found for number in named}
    batch = Batch(
        np.array([step for step, _, _ in found], np.int64),
        np.array([time for _, time, _ in found]),
        {
            number: (
                np.array([at for at, one in enumerate(found) if number in one[2]], np.uint32),
                np.array([named[number] for _, _, named in found if number in named]),
            )
            for number in numbers
        },
        replaces,
    )
    decoded = dict(decode_batch(encode_batch(batch)))
    assert bits(decoded.pop(TIMES)) == bits(series([(step, time) for step, time, _ in found]))
    assert decoded.keys() == numbers
    for number, one in decoded.items():
        with_value = [row for row in found if number in row[2]]
        expected = series([(step, named[number]) for step, _, named in with_value])
        times = np.array([time for _, time, _ in with_value])
        assert bits(one) == bits(replace(expected, times=times))
        assert (one.replaces is not None and bool(one.replaces.all())) == replaces


def test_rows_of_the_previous_version_are_read() -> None:
    """Written by encode_block and encode_batch of version 0.2."""
    block = decode_block(bytes.fromhex(BLOCK_OF_0_2))
    assert (block.steps.tolist(), block.times) == ([2, 5, 9], None)
    np.testing.assert_array_equal(block.values, [0.5, np.nan, 0.1])
    batch = dict(decode_batch(bytes.fromhex(BATCH_OF_0_2)))
    assert merge([batch[TIMES]]).values.tolist() == [1e9 + 1]
    merged = merge([batch[2]])
    assert (merged.steps.tolist(), merged.values.tolist()) == ([4], [0.25])


some_steps = st.lists(st.tuples(st.integers(0, 5), values), max_size=20)


@on_a_busy_machine
@given(st.lists(st.tuples(some_steps, st.booleans()), max_size=5))
def test_merging_keeps_all_values_that_were_not_replaced(
    found: list[tuple[list[tuple[int, float]], bool]],
) -> None:
    expected: dict[int, list[float]] = {}
    parts = []
    for part, replaces in found:
        for step, value in part:
            expected[step] = [value] if replaces else [*expected.get(step, []), value]
        flags = np.ones(len(part), np.bool_) if replaces else None
        parts.append(replace(series(part), replaces=flags))
    # As a compaction does: the batches first, then the block and what they amount to.
    for merged in (merge(parts), merge([merge(parts[:1]), merge(parts[1:])])):
        assert merged.steps.tolist() == [
            step for step, kept in sorted(expected.items()) for _ in kept
        ]
        np.testing.assert_array_equal(
            merged.values, [value for _, kept in sorted(expected.items()) for value in kept]
        )


def test_equal_values_of_one_step_and_time_are_one() -> None:
    found = Series(
        np.array([1, 1, 1, 1, 2, 2, 2], np.int64),
        np.array([0.5, 0.25, 0.5, 0.5, np.nan, np.nan, 0.0]),
        np.array([10.0, 11.0, 10.0, 12.0, 13.0, 13.0, 13.0]),
    ).distinct()
    assert found.steps.tolist() == [1, 1, 1, 2, 2]
    np.testing.assert_array_equal(found.values, [0.25, 0.5, 0.5, np.nan, 0.0])
    assert found.known_times().tolist() == [11.0, 10.0, 12.0, 13.0, 13.0]


@on_a_busy_machine
@given(st.lists(values, min_size=1, max_size=1000))
def test_outline_has_ends_extremes_and_a_non_finite_value(found: list[float]) -> None:
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


def test_float32_values_and_even_steps_take_four_bytes_per_point() -> None:
    rng = np.random.default_rng(1)
    stored = Series(
        np.arange(0, 80_000, 10, dtype=np.int64), rng.normal(size=8000).astype(np.float32)
    )
    assert len(encode_block(stored)) < 4.1 * 8000
