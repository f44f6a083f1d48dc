"""Reading series as columns of equal length for charts, downsampled without losing peaks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from training.models import PointBatch, PointBlock, PointIndex
from training.points.encoding import (
    EMPTY,
    EPOCHS,
    TIMES,
    Buffer,
    Series,
    Steps,
    Values,
    decode_batch,
    decode_block,
    decode_outlines,
    merge,
    resolve_repeats,
)

# Up to as many points of all requested series are read completely; of many short series all are.
EXACT_POINTS, SHORT_SERIES = 250_000, 10_000
# Of the matrix of series by steps, before and after downsampling.
MAX_MATRIX, MAX_CELLS = 4_000_000, 2_000_000
# An outline is used if it has this many times the points that are to be drawn.
OUTLINE_SURPLUS = 2
RETRIES = 5
MAX_IN_QUERY = 1000
# From each interval: minimum, maximum, and first value that is not finite.
KEPT_BY_INTERVAL = 3


@dataclass(frozen=True, slots=True)
class PointColumns:
    """`steps` [n] ascending; `epochs` and `seconds` [n], NaN where unknown.

    `values` [S, n] by the requested names, and `present` [S, n]: whether there is a value, which
    may be NaN. `total` counts the rows before downsampling. A row is a step, or a step at one time.
    """

    steps: Steps
    epochs: Values
    seconds: Values
    values: Values
    present: NDArray[np.bool_]
    total: int


@dataclass(slots=True)
class StoredSeries:
    """What is stored of one series: blocks without their data, and waiting points."""

    pks: list[int] = field(default_factory=list)
    outlines: list[Buffer] = field(default_factory=list)
    waiting: list[Series] = field(default_factory=list)
    in_blocks: int = 0

    @property
    def count(self) -> int:
        """At least the number of its points."""
        return self.in_blocks + sum(map(len, self.waiting))

    def from_outlines(self) -> Series:
        return merge([decode_outlines(self.outlines), *self.waiting])


class CompactedError(Exception):
    """Blocks were replaced while they were read."""


def read_columns(
    job_id: UUID, names: Sequence[str], max_points: int, *, with_repeats: bool = False
) -> PointColumns:
    """The series as columns of at most `max_points` rows; unknown names have no values.

    A row is a step with the last value of each series. `with_repeats`, if a series has several
    values at a step and there are not too many to read, a row is a step at one time, with all of
    them, ordered by step and then time.
    """
    known = PointIndex.objects.filter(pk=job_id).values_list("names", flat=True).first() or []
    numbers = {name: number for number, name in enumerate(known)}
    wanted = [numbers.get(name, -1) for name in names]
    for attempt in range(RETRIES):
        try:
            return _read_columns(
                job_id, wanted, max_points, with_repeats, check=attempt < RETRIES - 1
            )
        except CompactedError:
            continue
    raise AssertionError("the last attempt does not check")


def read_series(job_id: UUID, name: str) -> Series:
    """Every value of one series, ascending by step, with its time."""
    known = PointIndex.objects.filter(pk=job_id).values_list("names", flat=True).first() or []
    if name not in known:
        return EMPTY
    number = known.index(name)
    for attempt in range(RETRIES):
        try:
            found = decode_series(find_series(job_id, [number, TIMES], check=attempt < RETRIES - 1))
            return found[number].with_times_of(found[TIMES]).distinct()
        except CompactedError:
            continue
    raise AssertionError("the last attempt does not check")


def iterate_series(
    job_id: UUID, names: Sequence[str], max_points: int
) -> Iterator[tuple[str, Series]]:
    """As `read_series` for each of the names, in groups of at most `max_points` points.

    The times of all steps and the waiting points are read once. A group has at least one series.
    """
    known = PointIndex.objects.filter(pk=job_id).values_list("names", flat=True).first() or []
    numbers = {name: number for number, name in enumerate(known)}
    remaining = [name for name in names if name in numbers]
    failures = 0
    while remaining:
        try:
            check = failures < RETRIES - 1
            found = find_series(job_id, [*map(numbers.__getitem__, remaining), TIMES], check=check)
            times = decode_series({TIMES: found[TIMES]})[TIMES]
            counts = [found[numbers[name]].count for name in remaining]
            for group in _groups(remaining, counts, max_points):
                decoded = decode_series({numbers[name]: found.pop(numbers[name]) for name in group})
                failures = 0
                del remaining[: len(group)]
                for name in group:
                    series = decoded.pop(numbers[name])
                    yield name, series.with_times_of(times).distinct()
        except CompactedError:
            # The client may read slowly, so that this is likely for each group.
            failures += 1
            if failures == RETRIES:
                raise


def _groups(names: Sequence[str], counts: Sequence[int], max_points: int) -> list[list[str]]:
    groups: list[list[str]] = []
    points = 0
    for name, count in zip(names, counts, strict=True):
        if not groups or points + count > max_points:
            groups.append([])
            points = 0
        groups[-1].append(name)
        points += count
    return groups


def _read_columns(
    job_id: UUID, wanted: Sequence[int], max_points: int, with_repeats: bool, *, check: bool
) -> PointColumns:
    found = find_series(job_id, [*wanted, TIMES, EPOCHS], check=check)
    limit = max(2, min(max_points, MAX_CELLS // max(1, len(wanted))))
    requested = {number: found[number] for number in wanted}
    if _is_read_completely(found):
        exact = decode_series(found)
        series = [exact[number] for number in wanted]
        has_repeats = with_repeats and any(one.has_repeats for one in series)
        rows = (_rows_by_time if has_repeats else _rows_by_step)(series, exact[TIMES])
        if len(rows.steps) * len(wanted) <= MAX_MATRIX:
            values, present = _matrix(rows)
            kept = downsample(values, present, limit)
            return PointColumns(
                steps=rows.steps[kept],
                epochs=_epochs_at(rows.steps[kept], exact[EPOCHS], complete=False),
                seconds=_since_start(rows.times[kept], exact[TIMES]),
                values=values[:, kept],
                present=present[:, kept],
                total=len(rows.steps),
            )
    budget = max(2, limit // max(1, len(requested)))
    reduced = _reduced(requested, budget)
    times, epochs = (
        resolve_repeats(number, found[number].from_outlines()) for number in (TIMES, EPOCHS)
    )
    rows = _rows_by_step([reduced[number] for number in wanted], times)
    values, present = _matrix(rows)
    return PointColumns(
        steps=rows.steps,
        epochs=_epochs_at(rows.steps, epochs, complete=found[EPOCHS].count == found[TIMES].count),
        seconds=_since_start(rows.times, times),
        values=values,
        present=present,
        total=max((one.count for one in requested.values()), default=0),
    )


def _is_read_completely(found: Mapping[int, StoredSeries]) -> bool:
    counts = [one.count for one in found.values()]
    are_short = max(counts) <= SHORT_SERIES and sum(counts) <= MAX_MATRIX
    return are_short or sum(counts) <= EXACT_POINTS


def find_series(
    job_id: UUID, numbers: Iterable[int], *, check: bool
) -> defaultdict[int, StoredSeries]:
    found: defaultdict[int, StoredSeries] = defaultdict(StoredSeries)
    for number in numbers:
        found[number]
    batches = PointBatch.objects.filter(job_id=job_id).order_by("pk")
    first = None
    for pk, data in batches.values_list("pk", "data"):
        first = first or pk
        for number, series in decode_batch(data):
            if number in found:
                found[number].waiting.append(series)
    rows = PointBlock.objects.filter(job_id=job_id)
    if len(found) <= MAX_IN_QUERY:
        rows = rows.filter(series__in=[number for number in found if number >= 0])
    ordered = rows.order_by("series", "first_step")
    for number, pk, count, outline in ordered.values_list("series", "pk", "count", "outline"):
        if number in found:
            one = found[number]
            one.pks.append(pk)
            one.outlines.append(outline)
            one.in_blocks += count
    # A compaction takes the oldest batches. One in between has moved them into blocks that were
    # read together with newer points.
    if check and first is not None and first != batches.values_list("pk", flat=True).first():
        raise CompactedError
    return found


def decode_series(found: Mapping[int, StoredSeries]) -> dict[int, Series]:
    pks = [pk for one in found.values() for pk in one.pks]
    blocks: dict[int, Series] = {}
    for at in range(0, len(pks), MAX_IN_QUERY):
        rows = PointBlock.objects.filter(pk__in=pks[at : at + MAX_IN_QUERY]).values_list(
            "pk", "data"
        )
        blocks.update({pk: decode_block(data) for pk, data in rows})
    if len(blocks) < len(pks):
        raise CompactedError
    return {
        number: resolve_repeats(number, merge([*(blocks[pk] for pk in one.pks), *one.waiting]))
        for number, one in found.items()
    }


def _reduced(requested: Mapping[int, StoredSeries], budget: int) -> dict[int, Series]:
    """At most `budget` points of each series."""
    complete = {
        number: one
        for number, one in requested.items()
        if sum(map(len, one.outlines)) // 16 < OUTLINE_SURPLUS * budget
    }
    decoded = decode_series(complete)
    series = {}
    for number, one in requested.items():
        points = decoded[number] if number in decoded else one.from_outlines()
        points = points.last_of_steps()
        present = np.ones((1, len(points)), np.bool_)
        kept = downsample(points.values[np.newaxis], present, budget)
        series[number] = points.select(kept)
    return series


@dataclass(frozen=True, slots=True)
class _Rows:
    """Steps and times of rows, and the values of each series with the rows that they are in."""

    steps: Steps
    times: Values
    cells: list[tuple[NDArray[np.intp] | slice, Values]]


def _rows_by_step(series: Sequence[Series], times: Series) -> _Rows:
    """`times` are interpolated between the steps of an outline, and NaN if there are none."""
    last = [one.last_of_steps() for one in series]
    steps = _union(last)
    found = np.full(len(steps), np.nan)
    if len(times):
        found = np.interp(steps, times.steps, times.values)
    cells: list[tuple[NDArray[np.intp] | slice, Values]] = []
    for one in last:
        rows = np.searchsorted(steps, one.steps) if len(one) < len(steps) else slice(None)
        cells.append((rows, one.values))
        if one.times is not None:
            found[rows] = np.fmax(found[rows], one.times)
    return _Rows(steps, found, cells)


def _rows_by_time(series: Sequence[Series], times: Series) -> _Rows:
    """Each value in the row of its step and time; equal values of these have rows of their own."""
    timed = [one.with_times_of(times).distinct() for one in series]
    timed = [one.select(np.lexsort((one.known_times(), one.steps))) for one in timed]
    steps, moments, ranks = (
        np.concatenate(columns)
        for columns in zip(
            *((one.steps, one.known_times(), _ranks(one)) for one in timed), strict=True
        )
    )
    order = np.lexsort((ranks, moments, steps))
    is_new = np.append(
        True, np.any([np.diff(key[order]) != 0 for key in (steps, moments, ranks)], axis=0)
    )
    rows = np.empty(len(order), np.intp)
    rows[order] = np.cumsum(is_new) - 1
    ends = np.cumsum([len(one) for one in timed])
    first = order[is_new]
    return _Rows(
        steps[first],
        moments[first],
        [(rows[end - len(one) : end], one.values) for one, end in zip(timed, ends, strict=True)],
    )


def _ranks(series: Series) -> NDArray[np.intp]:
    """The position of each value among those of its step and time, which are adjacent."""
    positions = np.arange(len(series))
    is_new = np.append(True, (np.diff(series.steps) != 0) | (np.diff(series.known_times()) != 0))
    return positions - np.maximum.accumulate(np.where(is_new[: len(series)], positions, 0))


def _union(series: Sequence[Series]) -> Steps:
    if not series:
        return EMPTY.steps
    first = series[0].steps
    if all(np.array_equal(one.steps, first) for one in series[1:]):
        return first
    return np.unique(np.concatenate([one.steps for one in series]))


def _matrix(rows: _Rows) -> tuple[Values, NDArray[np.bool_]]:
    values = np.full((len(rows.cells), len(rows.steps)), np.nan)
    present = np.zeros(values.shape, np.bool_)
    for row, (columns, found) in enumerate(rows.cells):
        values[row, columns], present[row, columns] = found, True
    return values, present


def _since_start(times: Values, of_steps: Series) -> Values:
    return times - of_steps.values[0] if len(of_steps) else times


def _epochs_at(steps: Steps, epochs: Series, complete: bool) -> Values:
    """The epoch of each step; if every step has one, that of the last known step before it."""
    found = np.full(len(steps), np.nan)
    if len(epochs):
        before = np.searchsorted(epochs.steps, steps, side="right") - 1
        known = before >= 0
        if not complete:
            known &= epochs.steps[np.maximum(before, 0)] == steps
        found[known] = epochs.values[before[known]]
    return found


def downsample(values: Values, present: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
    """Indices of at most `limit` of the columns of [S, N], including the first and last.

    From each of equally long intervals, the columns are kept where a row has its minimum, its
    maximum or its first value that is not finite.
    """
    rows, count = values.shape
    if count <= limit:
        return np.arange(count)
    intervals = max(1, (limit - 2) // (KEPT_BY_INTERVAL * max(rows, 1)))
    length = -(-count // intervals)
    starts = np.arange(0, count, length)
    padding = len(starts) * length - count

    def by_interval(numbers: NDArray[Any]) -> NDArray[Any]:
        padded = np.pad(numbers, ((0, 0), (0, padding)), mode="edge") if padding else numbers
        return padded.reshape(rows, len(starts), length)

    finite = np.isfinite(values)
    low = by_interval(np.where(finite, values, np.inf)).argmin(2)
    high = by_interval(np.where(finite, values, -np.inf)).argmax(2)
    kept = [np.array([0, count - 1])]
    there = by_interval(finite).any(2)
    kept += [(starts + low)[there], (starts + high)[there]]
    odd = by_interval(present & ~finite)
    kept.append((starts + odd.argmax(2))[odd.any(2)])
    chosen = np.unique(np.concatenate(kept))
    if len(chosen) > limit:  # more rows than columns
        chosen = chosen[np.linspace(0, len(chosen) - 1, limit).astype(int)]
    return chosen
