"""Reading series as columns of equal length for charts, downsampled without losing peaks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from training.models import PointBatch, PointBlock, PointIndex
from training.points.encoding import (
    EMPTY,
    Buffer,
    Series,
    Steps,
    Values,
    decode_batch,
    decode_block,
    decode_outlines,
    merge,
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
    may be NaN. `total` counts the steps before downsampling.
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


def read_columns(job_id: UUID, names: Sequence[str], max_points: int) -> PointColumns:
    """The series as columns of at most `max_points` steps; unknown names have no values."""
    known = PointIndex.objects.filter(pk=job_id).values_list("names", flat=True).first() or []
    numbers = {name: number for number, name in enumerate(known)}
    wanted = [numbers.get(name, -1) for name in names]
    for attempt in range(RETRIES):
        try:
            return _read_columns(job_id, wanted, max_points, check=attempt < RETRIES - 1)
        except CompactedError:
            continue
    raise AssertionError("the last attempt does not check")


def read_series(job_id: UUID, name: str) -> Series:
    """Every point of one series, ascending by step."""
    known = PointIndex.objects.filter(pk=job_id).values_list("names", flat=True).first() or []
    if name not in known:
        return EMPTY
    number = known.index(name)
    for attempt in range(RETRIES):
        try:
            found = find_series(job_id, [number], check=attempt < RETRIES - 1)
            return decode_series(found)[number]
        except CompactedError:
            continue
    raise AssertionError("the last attempt does not check")


def _read_columns(
    job_id: UUID, wanted: Sequence[int], max_points: int, *, check: bool
) -> PointColumns:
    found = find_series(job_id, [*wanted, 0, 1], check=check)
    limit = max(2, min(max_points, MAX_CELLS // max(1, len(wanted))))
    requested = {number: found[number] for number in wanted}
    if _is_read_completely(found):
        exact = decode_series(found)
        steps = _union([exact[number] for number in requested])
        if len(steps) * len(wanted) <= MAX_MATRIX:
            values, present = _matrix([exact[number] for number in wanted], steps)
            kept = downsample(values, present, limit)
            return _columns(
                steps[kept], values[:, kept], present[:, kept], len(steps), exact[0], exact[1],
                epochs_are_complete=False,
            )  # fmt: skip
    budget = max(2, limit // max(1, len(requested)))
    series = _reduced(requested, budget)
    steps = _union(list(series.values()))
    values, present = _matrix([series[number] for number in wanted], steps)
    return _columns(
        steps, values, present, max((one.count for one in requested.values()), default=0),
        found[0].from_outlines(), found[1].from_outlines(),
        epochs_are_complete=found[1].count == found[0].count,
    )  # fmt: skip


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
        number: merge([*(blocks[pk] for pk in one.pks), *one.waiting])
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
        present = np.ones((1, len(points)), np.bool_)
        kept = downsample(points.values[np.newaxis], present, budget)
        series[number] = Series(points.steps[kept], points.values[kept])
    return series


def _union(series: Sequence[Series]) -> Steps:
    if not series:
        return EMPTY.steps
    first = series[0].steps
    if all(np.array_equal(one.steps, first) for one in series[1:]):
        return first
    return np.unique(np.concatenate([one.steps for one in series]))


def _matrix(series: Sequence[Series], steps: Steps) -> tuple[Values, NDArray[np.bool_]]:
    values = np.full((len(series), len(steps)), np.nan)
    present = np.zeros((len(series), len(steps)), np.bool_)
    for row, one in enumerate(series):
        if len(one) == len(steps):
            values[row], present[row] = one.values, True
        else:
            columns = np.searchsorted(steps, one.steps)
            values[row, columns], present[row, columns] = one.values, True
    return values, present


def _columns(
    steps: Steps,
    values: Values,
    present: NDArray[np.bool_],
    total: int,
    times: Series,
    epochs: Series,
    *,
    epochs_are_complete: bool,
) -> PointColumns:
    return PointColumns(
        steps=steps,
        epochs=_epochs_at(steps, epochs, epochs_are_complete),
        seconds=_seconds_at(steps, times),
        values=values,
        present=present,
        total=total,
    )


def _seconds_at(steps: Steps, times: Series) -> Values:
    """Seconds since the first step, interpolated between the steps of an outline."""
    if not len(times):
        return np.full(len(steps), np.nan)
    seconds: Values = np.interp(steps, times.steps, times.values - times.values[0])
    return seconds


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
