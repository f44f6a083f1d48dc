"""Stored points compared with a dictionary of values and times by series and step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.models import Job, PointBatch, PointBlock, PointIndex
from training.models.states import Status
from training.points import columns, compaction, limits, series_summary, store
from training.points.rows import Row
from training.points.series_summary import SeriesSummary

NAMES = ["loss", "train/ä b", "0"]


@pytest.fixture
def running(ada: User) -> Job:
    return Job.objects.create(owner=ada, updated_at=timezone.now(), status=Status.RUNNING)


def append(job_id: UUID, points: Sequence[Row], *, replacing: bool = False) -> PointIndex:
    with transaction.atomic():
        index = store.open_index(job_id)
        store.append(index, points, replacing=replacing)
        index.save()
    return index


def clear(job_id: UUID) -> None:
    for model in (PointBatch, PointBlock, PointIndex):
        model.objects.filter(job_id=job_id).delete()


Model = dict[int, list[tuple[float, float]]]  # values and times by step, as they arrived


def assert_summary(found: SeriesSummary | None, expected: Model, epochs: dict[int, int]) -> None:
    if not expected:
        assert found is None or found.last is None
        return
    assert found is not None
    assert found.last == pytest.approx(expected[max(expected)][-1][0], rel=0, abs=0, nan_ok=True)
    finite = [value for one in expected.values() for value, _ in one if math.isfinite(value)]
    assert (found.lowest and found.lowest.value) == (min(finite) if finite else None)
    assert (found.highest and found.highest.value) == (max(finite) if finite else None)
    if found.lowest:
        assert found.lowest.value in [value for value, _ in expected[found.lowest.step]]
        assert epochs.get(found.lowest.step) == found.lowest.epoch
    at_epoch = [expected[step][-1][0] for step in sorted(expected) if epochs.get(step) == 3]
    if at_epoch:
        assert found.at_epoch == pytest.approx(at_epoch[-1], rel=0, abs=0, nan_ok=True)
    else:
        assert found.at_epoch is None


values = st.floats(width=64).map(lambda value: math.nan if math.isnan(value) else value)
points = st.builds(
    Row,
    step=st.integers(0, 60),
    time=st.integers(0, 3).map(float),
    epoch=st.none() | st.integers(0, 5),
    values=st.dictionaries(st.sampled_from(NAMES), values | st.just(1.0), min_size=1),
)
batches = st.tuples(st.lists(points, min_size=1, max_size=30), st.booleans())
actions = st.lists(batches | st.just("compact"), max_size=8)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actions)
def test_every_value_that_was_not_replaced_is_kept(
    running: Job, monkeypatch: pytest.MonkeyPatch, found: list[Any]
) -> None:
    monkeypatch.setattr(compaction, "BLOCK", 8)
    clear(running.pk)
    model: dict[str, Model] = {name: {} for name in NAMES}
    epochs: dict[int, int] = {}
    starts: dict[int, float] = {}
    for one in found:
        if one == "compact":
            assert compaction.compact(running.pk)
            continue
        rows, replacing = one
        append(running.pk, rows, replacing=replacing)
        for point in rows:
            starts.setdefault(point.step, point.time)
            for name, value in point.values.items():
                earlier = [] if replacing else model[name].get(point.step, [])
                model[name][point.step] = _with_value(earlier, value, point.time)
            if point.epoch is not None:
                epochs[point.step] = point.epoch
    summaries = series_summary.summarize_series(running.pk, NAMES, epoch=3)
    for name, expected in model.items():
        assert_summary(summaries.get(name), expected, epochs)
        series = columns.read_series(running.pk, name)
        cells = [(step, *cell) for step, kept in sorted(expected.items()) for cell in kept]
        assert series.steps.tolist() == [step for step, _, _ in cells]
        np.testing.assert_array_equal(series.values, [value for _, value, _ in cells])
        np.testing.assert_array_equal(series.known_times(), [time for _, _, time in cells])
    _assert_columns(running.pk, model, epochs, starts)
    _assert_repeats(running.pk, model)
    _assert_blocks_are_disjoint(running.pk)


def _with_value(
    earlier: list[tuple[float, float]], value: float, time: float
) -> list[tuple[float, float]]:
    """An equal value of the same time is a repeated request; the repeat is kept."""
    different = [
        (one, at)
        for one, at in earlier
        if np.float64(value).tobytes() != np.float64(one).tobytes() or time != at
    ]
    return [*different, (value, time)]


def _assert_columns(
    job_id: UUID, model: dict[str, Model], epochs: dict[int, int], starts: dict[int, float]
) -> None:
    read = columns.read_columns(job_id, NAMES, 1000)
    steps = sorted({step for one in model.values() for step in one})
    assert read.steps.tolist() == steps
    assert read.total == len(steps)
    for row, name in enumerate(NAMES):
        assert read.present[row].tolist() == [step in model[name] for step in steps]
        expected = [model[name][step][-1][0] if step in model[name] else math.nan for step in steps]
        np.testing.assert_array_equal(read.values[row], expected)
    np.testing.assert_array_equal(read.epochs, [epochs.get(step, math.nan) for step in steps])
    latest = [
        max([starts[step], *(one[step][-1][1] for one in model.values() if step in one)])
        for step in steps
    ]
    assert read.seconds.tolist() == [time - starts[steps[0]] for time in latest]


def _assert_repeats(job_id: UUID, model: dict[str, Model]) -> None:
    """All values are in the rows, each in one of its step, if any series has several."""
    if all(len(kept) == 1 for one in model.values() for kept in one.values()):
        return
    read = columns.read_columns(job_id, NAMES, 10_000, with_repeats=True)
    assert read.total == len(read.steps)
    seconds = list(zip(read.steps.tolist(), read.seconds.tolist(), strict=True))
    assert seconds == sorted(seconds)
    for row, name in enumerate(NAMES):
        kept = sorted(
            (step, time, np.float64(value).tobytes())
            for step, one in model[name].items() for value, time in one
        )  # fmt: skip
        start = columns.read_series(job_id, store.TIME).values[0]
        there = np.flatnonzero(read.present[row])
        found = sorted(
            (int(read.steps[at]), float(read.seconds[at] + start), read.values[row, at].tobytes())
            for at in there
        )
        assert found == kept


def _assert_blocks_are_disjoint(job_id: UUID) -> None:
    rows = PointBlock.objects.filter(job_id=job_id).order_by("series", "first_step")
    last: dict[int, int] = {}
    for block in rows:
        assert block.first_step > last.get(block.series, -1)
        assert block.last_step >= block.first_step
        assert block.count <= 8 or block.first_step == block.last_step
        last[block.series] = block.last_step


def steps_of(first: int, count: int, **values: float) -> list[Row]:
    return [Row(step, 1e9 + step, step // 100, values) for step in range(first, first + count)]


def test_compaction_overtaken_by_another_process_changes_nothing(
    running: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(running.pk, steps_of(0, 50, loss=1.0))
    merge_into_blocks = compaction._merge_into_blocks

    def overtaken(*arguments: Any) -> Any:
        found = merge_into_blocks(*arguments)
        monkeypatch.setattr(compaction, "_merge_into_blocks", merge_into_blocks)
        append(running.pk, steps_of(50, 5, loss=2.0))
        assert compaction.compact(running.pk)
        return found

    monkeypatch.setattr(compaction, "_merge_into_blocks", overtaken)
    assert not compaction.compact(running.pk)
    assert columns.read_series(running.pk, "loss").values.tolist() == [1.0] * 50 + [2.0] * 5
    index = PointIndex.objects.get(pk=running.pk)
    assert (index.pending_batches, index.pending_values) == (0, 0)


def test_batch_appended_during_a_compaction_is_kept(
    running: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(running.pk, steps_of(0, 5, loss=1.0))
    merge_into_blocks = compaction._merge_into_blocks

    def slow(*arguments: Any) -> Any:
        append(running.pk, steps_of(2, 1, loss=9.0))
        return merge_into_blocks(*arguments)

    monkeypatch.setattr(compaction, "_merge_into_blocks", slow)
    assert compaction.compact(running.pk)
    assert columns.read_series(running.pk, "loss").values.tolist() == [1, 1, 1, 9, 1, 1]
    assert PointBatch.objects.filter(job_id=running.pk).count() == 1


def test_long_series_is_read_from_outlines_with_its_peaks(
    running: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "BLOCK", 256)
    monkeypatch.setattr(columns, "EXACT_POINTS", 1000)
    monkeypatch.setattr(columns, "SHORT_SERIES", 1000)
    rng = np.random.default_rng(1)
    rows = [
        Row(step, 1e9 + step / 4, step // 100, {"loss": float(value), "other": float(step)})
        for step, value in enumerate(rng.random(20_000))
    ]
    rows[7_777] = Row(7_777, 1e9 + 7_777 / 4, 77, {"loss": 99.0, "other": 7_777.0})
    rows[12_345] = Row(12_345, 1e9 + 12_345 / 4, 123, {"loss": math.nan, "other": 12_345.0})
    for at in range(0, len(rows), 5000):
        append(running.pk, rows[at : at + 5000])
        compaction.compact(running.pk)
    read = columns.read_columns(running.pk, ["loss"], 500)
    assert 100 < len(read.steps) <= 500
    assert read.total == 20_000
    assert {0, 7_777, 12_345, 19_999} <= set(read.steps.tolist())
    by_step = dict(zip(read.steps.tolist(), read.values[0].tolist(), strict=True))
    assert by_step[7_777] == 99.0
    assert math.isnan(by_step[12_345]) and read.present.all()
    np.testing.assert_allclose(read.seconds, read.steps / 4)
    # The epoch of a step is exact to a part of a block.
    assert np.abs(read.epochs - read.steps // 100).max() <= 1
    assert all(rows[step].values["loss"] == value for step, value in by_step.items()
               if step != 12_345)  # fmt: skip
    both = columns.read_columns(running.pk, ["loss", "other"], 500)
    assert len(both.steps) <= 500
    assert both.present.any(1).all()


def test_names_beyond_the_limit_are_refused(running: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_SERIES", 2)
    append(running.pk, steps_of(0, 1, a=1.0, b=2.0))
    new = [Row(1, 1.0, None, {"a": 1.0, "c": 2.0})]
    assert store.refused_names(store.open_index(running.pk), new) == {"c"}
    assert store.series_names(running.pk) == ["a", "b"]


def test_newest_values_are_those_of_the_highest_step(running: Job) -> None:
    append(running.pk, [Row(5, 1.0, None, {"a": 5.0}), Row(3, 2.0, None, {"a": 3.0})])
    index = append(running.pk, [Row(4, 3.0, None, {"a": 4.0, "b": math.nan})])
    newest = store.newest_values(index, 10)
    assert newest["a"] == 5.0 and math.isnan(newest["b"])
    assert store.newest_step(index) == 5


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("", "at least one character"), ("a\nb", "control character"), ("x" * 251, "at most 250"),
     (" a", "begins or ends with a space")],
)  # fmt: skip
def test_invalid_name_gets_a_sentence(name: str, sentence: str) -> None:
    assert sentence in limits.refuse_name(name)


def test_every_series_is_read_with_few_queries(running: Job) -> None:
    names = [f"s{number}" for number in range(50)]
    points = [
        Row(
            step, 1e9 + step, None, {name: step / (1 + number) for number, name in enumerate(names)}
        )
        for step in range(200)
    ]
    append(running.pk, points[:150])
    compaction.compact(running.pk)
    append(running.pk, points[150:])
    expected = {name: columns.read_series(running.pk, name) for name in names}

    def read(max_points: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            found = dict(columns.iterate_series(running.pk, ["unknown", *names], max_points))
        assert list(found) == names
        for name, series in found.items():
            for column in ("steps", "values", "times"):
                np.testing.assert_array_equal(
                    getattr(series, column), getattr(expected[name], column)
                )
        batches = [query for query in queries if "training_pointbatch" in query["sql"]]
        assert len(batches) == 2  # the waiting points, and whether they still wait
        return len(queries)

    alone, together = read(1), read(10**6)
    assert (alone, together) == (55, 6)


def test_series_are_read_completely_while_points_are_compacted(running: Job) -> None:
    names = ["a", "b", "c"]
    for step in range(9):
        append(running.pk, [Row(step, 1e9 + step, None, dict.fromkeys(names, float(step)))])
    found = {}
    for name, series in columns.iterate_series(running.pk, names, 1):
        compaction.compact(running.pk)
        append(running.pk, [Row(100, 2e9, None, {name: 1.0})])
        compaction.compact(running.pk)
        found[name] = series.steps.tolist()[:9]
    assert found == {name: list(range(9)) for name in names}
