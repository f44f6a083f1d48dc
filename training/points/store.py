"""Appending points to a job, and the names and newest values of its series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple, cast
from uuid import UUID

import numpy as np
from django.db import transaction

from training.models import PointBatch, PointIndex
from training.points import compaction
from training.points.encoding import TIMES, Batch, Values, encode_batch
from training.points.limits import MAX_SERIES
from training.points.rows import PointLike

# The time and epoch of each step are series too (`encoding.TIMES`); no other name begins with a
# space.
TIME, EPOCH = " time", " epoch"
INTERNAL = (TIME, EPOCH)


def open_index(job_id: UUID) -> PointIndex:
    """The index of the job. The caller holds a lock on the job's row until it commits."""
    found = PointIndex.objects.filter(pk=job_id).first()
    return found or PointIndex(job_id=job_id, names=list(INTERNAL))


def refused_names(index: PointIndex, points: Iterable[PointLike]) -> frozenset[str]:
    """The names among the points' for which the job has no room."""
    new = dict.fromkeys(name for point in points for name in point.values)
    for name in index.names:
        new.pop(name, None)
    room = MAX_SERIES + len(INTERNAL) - len(index.names)
    return frozenset(list(new)[max(0, room) :])


def append(index: PointIndex, points: Sequence[PointLike], *, replacing: bool = False) -> None:
    """Store the points beside earlier ones of their steps, or instead of them if `replacing`.

    The caller saves the index. All of that is one transaction of the caller's.
    """
    batch = _as_batch(index, points, replacing)
    _update_newest(index, batch)
    PointBatch.objects.create(job_id=index.job_id, data=encode_batch(batch))
    index.revision += 1
    index.pending_batches += 1
    index.pending_values += len(batch)
    if compaction.is_due(index):
        transaction.on_commit(partial(compaction.start, index.job_id, index.pending_values))


def _as_batch(index: PointIndex, points: Sequence[PointLike], replacing: bool) -> Batch:
    """The points by series; new names are added to the index."""
    columns: dict[str, tuple[list[int], list[object]]] = {}
    epochs: tuple[list[int], list[object]] = ([], [])
    for position, point in enumerate(points):
        for name, value in point.values.items():
            try:
                positions, values = columns[name]
            except KeyError:
                positions, values = columns[name] = ([], [])
            positions.append(position)
            values.append(value)
        if point.epoch is not None:
            epochs[0].append(position)
            epochs[1].append(point.epoch)
    numbers = {name: number for number, name in enumerate(index.names)}
    for name in columns:
        if name not in numbers:
            numbers[name] = len(index.names)
            index.names.append(name)
    named = {EPOCH: epochs, **columns}
    return Batch(
        np.array([point.step for point in points], np.int64),
        np.array([point.time for point in points], np.float64),
        {
            numbers[name]: (np.array(positions, np.uint32), np.array(values, np.float64))
            for name, (positions, values) in named.items()
            if positions
        },
        replacing,
    )


def newest_values(index: PointIndex, limit: int) -> dict[str, float]:
    """The value at the highest step of each of the first `limit` series, by name."""
    count = len(index.newest) // 16
    values = np.frombuffer(index.newest, "<f8", count, 8 * count).tolist()
    named = zip(index.names, values, strict=True)
    return dict(list(named)[len(INTERNAL) : limit + len(INTERNAL)])


class NewestValue(NamedTuple):
    """The value of a series at its highest step, and when it was measured."""

    name: str
    step: int
    value: float
    time: float


def newest_points(index: PointIndex) -> list[NewestValue]:
    """The newest value of each series, in the order in which their names arrived."""
    count = len(index.newest) // 16
    steps = np.frombuffer(index.newest, "<i8", count).tolist()
    values = np.frombuffer(index.newest, "<f8", count, 8 * count).tolist()
    found = zip(index.names, steps, values, _newest_times(index, count).tolist(), strict=True)
    return [NewestValue(*one) for one in list(found)[len(INTERNAL) :]]


def _newest_times(index: PointIndex, count: int) -> Values:
    """For points of an earlier version: the time of the highest step of all."""
    known = np.frombuffer(index.newest_times, "<f8")
    if len(known) == count:
        return known
    latest = newest_time(index) if index.newest else np.nan
    return np.append(known, np.full(count - len(known), latest))


def newest_step(index: PointIndex) -> int:
    count = len(index.newest) // 16
    return int(np.frombuffer(index.newest, "<i8", count)[0])


def newest_time(index: PointIndex) -> float:
    """The time of the highest step."""
    count = len(index.newest) // 16
    return float(np.frombuffer(index.newest, "<f8", count, 8 * count)[0])


def _update_newest(index: PointIndex, batch: Batch) -> None:
    count, total = len(index.newest) // 16, len(index.names)
    steps, values, times = np.full(total, -1, np.int64), np.full(total, np.nan), np.empty(total)
    times[:count] = _newest_times(index, count)
    steps[:count] = np.frombuffer(index.newest, "<i8", count)
    values[:count] = np.frombuffer(index.newest, "<f8", count, 8 * count)
    every = np.arange(len(batch.steps), dtype=np.uint32)
    for number, (points, found) in {TIMES: (every, batch.times), **batch.series}.items():
        steps_of = batch.steps[points]
        # The last of equal steps, so from the end.
        position = len(steps_of) - 1 - int(steps_of[::-1].argmax())
        if steps_of[position] >= steps[number]:
            steps[number], values[number] = steps_of[position], found[position]
            times[number] = batch.times[points[position]]
    index.newest, index.newest_times = steps.tobytes() + values.tobytes(), times.tobytes()


def series_names(job_id: UUID) -> list[str]:
    names = PointIndex.objects.filter(pk=job_id).values_list("names", flat=True).first()
    return sorted(cast("list[str]", names or [])[len(INTERNAL) :])


def revision(job_id: UUID) -> int:
    """A number that changes with each append."""
    return PointIndex.objects.filter(pk=job_id).values_list("revision", flat=True).first() or 0
