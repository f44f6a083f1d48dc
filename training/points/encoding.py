"""Batches and blocks of points as bytes.

A batch holds the points of one append, uncompressed: it is written once, read a few times, and
then merged into blocks. A block holds consecutive steps of one series, compactly.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Values = NDArray[np.float64]
Buffer = bytes | memoryview

# The numbers of two series of each job: the time and the epoch of each step.
TIMES, EPOCHS = 0, 1

# An outline has the extremes of this many equal parts of a block.
OUTLINE_PARTS = 16

# The first number of a batch. One of an earlier version begins with the count of its series.
_BATCH = 0x80000000
_BATCH_HEADER = struct.Struct("<IIII")  # that number, whether it replaces, points, series

_HEADER = struct.Struct("<BBIqq")  # step width, flags, count, first step, stride
_COLUMN = struct.Struct("<BI")  # flags, length
# Flags of a column of values, and of a block that has times of its own, as a column before them.
_FLOAT32, _COMPRESSED, _TIMES = 1, 2, 4
# Compressed only if that saves a quarter: random mantissas do not compress.
_WORTHWHILE = 0.75


@dataclass(frozen=True, slots=True)
class Series:
    """Values by step: as they arrived, or `ordered`. A step may have several.

    `times` are in seconds since 1970; NaN, or no array, stands for the time of the step, which is
    that of its first point. A value that `replaces` removes all earlier ones of its step.
    """

    steps: Steps
    values: Values
    times: Values | None = None
    replaces: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def ordered(self) -> Series:
        """Ascending by step and, within a step, by arrival; without what was replaced."""
        if self._is_ascending():
            return self
        found = self.select(np.argsort(self.steps, kind="stable"))
        if found.replaces is None:
            return found
        positions = np.arange(len(found))
        starts = np.append(0, np.flatnonzero(np.diff(found.steps)) + 1)
        newest = np.maximum.reduceat(np.where(found.replaces, positions, -1), starts)
        kept = positions >= np.repeat(newest, np.diff(np.append(starts, len(found))))
        return found.select(kept)

    def _is_ascending(self) -> bool:
        return len(self) < 2 or bool(np.all(self.steps[1:] > self.steps[:-1]))

    @property
    def has_repeats(self) -> bool:
        """Whether a step has several values; the series is ordered."""
        return not self._is_ascending()

    def last_of_steps(self) -> Series:
        """One value a step; the series is ordered."""
        if not self.has_repeats:
            return self
        return self.select(np.append(self.steps[1:] != self.steps[:-1], True))

    def first_of_steps(self) -> Series:
        """One value a step; the series is ordered."""
        if not self.has_repeats:
            return self
        return self.select(np.append(True, self.steps[1:] != self.steps[:-1]))

    def distinct(self) -> Series:
        """Each value of a step and time once: clients repeat requests. The series is ordered.

        Of equal values the last is kept, so the last value of a step is the same with repeats.
        """
        if not self.has_repeats:
            return self
        keys = (self.values.view(np.int64), self.known_times().view(np.int64), self.steps)
        order = np.lexsort(keys)  # stable: equals stay in their order of arrival
        is_last = np.append(np.any([np.diff(key[order]) != 0 for key in keys], axis=0), True)
        return self.select(np.sort(order[is_last]))

    def known_times(self) -> Values:
        return np.full(len(self), np.nan) if self.times is None else self.times

    def without_times(self) -> Series:
        return Series(self.steps, self.values)

    def without_times_of(self, steps: Series) -> Series:
        """NaN instead of the times that `steps`, the time of each step, has as well."""
        if self.times is None:
            return self
        at: NDArray[np.intp] | slice = slice(None)
        if not np.array_equal(self.steps, steps.steps):
            at = np.searchsorted(steps.steps, self.steps)
        own = self.times != steps.values[at]
        times = np.where(own, self.times, np.nan) if own.any() else None
        return Series(self.steps, self.values, times, self.replaces)

    def with_times_of(self, steps: Series) -> Series:
        """The reverse of `without_times_of`."""
        at = np.minimum(np.searchsorted(steps.steps, self.steps), len(steps) - 1)
        known = self.known_times()
        times = np.where(np.isnan(known), steps.values[at], known)
        return Series(self.steps, self.values, times, self.replaces)

    def between(self, start: int, end: int) -> Series:
        return self.select(slice(start, end))

    def select(self, rows: NDArray[Any] | slice) -> Series:
        return Series(
            self.steps[rows],
            self.values[rows],
            None if self.times is None else self.times[rows],
            None if self.replaces is None else self.replaces[rows],
        )


EMPTY = Series(np.empty(0, np.int64), np.empty(0))


def merge(parts: Sequence[Series]) -> Series:
    """The parts from the oldest to the newest as one series, ordered."""
    if len(parts) == 1:
        return parts[0].ordered()
    if not parts:
        return EMPTY
    return Series(
        np.concatenate([one.steps for one in parts]),
        np.concatenate([one.values for one in parts]),
        np.concatenate([one.known_times() for one in parts])
        if any(one.times is not None for one in parts)
        else None,
        np.concatenate([_replacing(one) for one in parts])
        if any(one.replaces is not None for one in parts)
        else None,
    ).ordered()


def resolve_repeats(number: int, series: Series) -> Series:
    """Of each step the first time, the last epoch, or the distinct values; `series` is ordered."""
    if number == TIMES:
        return series.first_of_steps().without_times()
    if number == EPOCHS:
        return series.last_of_steps().without_times()
    return series.distinct()


def _replacing(one: Series) -> NDArray[np.bool_]:
    return np.zeros(len(one), np.bool_) if one.replaces is None else one.replaces


@dataclass(frozen=True, slots=True)
class Batch:
    """Points in the order of arrival, and by the number of a series the points that have a value.

    `series` does not contain TIMES.
    """

    steps: Steps
    times: Values
    series: Mapping[int, tuple[NDArray[np.uint32], Values]]
    replaces: bool = False

    def __len__(self) -> int:
        """Values, and times of points."""
        return len(self.steps) + sum(len(values) for _, values in self.series.values())


def encode_batch(batch: Batch) -> bytes:
    """The points of a series are left out if it has a value in each."""
    count, parts = len(batch.steps), list(batch.series.values())
    return b"".join([
        _BATCH_HEADER.pack(_BATCH, batch.replaces, count, len(parts)),
        np.array(list(batch.series), "<u4").tobytes(),
        np.array([len(values) for _, values in parts], "<u4").tobytes(),
        np.asarray(batch.steps, "<i8").tobytes(),
        np.asarray(batch.times, "<f8").tobytes(),
        *(np.asarray(values, "<f8").tobytes() for _, values in parts),
        *(np.asarray(points, "<u4").tobytes() for points, _ in parts if len(points) < count),
    ])  # fmt: skip


def decode_batch(data: Buffer) -> Iterator[tuple[int, Series]]:
    """The series by number, in the order of arrival."""
    if int(np.frombuffer(data, "<u4", 1)[0]) != _BATCH:
        yield from _decode_earlier_batch(data)
        return
    _, replacing, points, count = _BATCH_HEADER.unpack_from(data)
    at = _BATCH_HEADER.size
    numbers = np.frombuffer(data, "<u4", count, at).tolist()
    lengths = np.frombuffer(data, "<u4", count, at + 4 * count).tolist()
    at += 8 * count
    steps = np.frombuffer(data, "<i8", points, at)
    times = np.frombuffer(data, "<f8", points, at + 8 * points)
    at += 16 * points
    values = np.frombuffer(data, "<f8", sum(lengths), at)
    at += 8 * len(values)
    yield TIMES, Series(steps, times)
    every = Series(steps, times, times, np.ones(points, np.bool_) if replacing else None)
    start = 0
    for number, length in zip(numbers, lengths, strict=True):
        found = every
        if length < points:
            found = every.select(np.frombuffer(data, "<u4", length, at))
            at += 4 * length
        part = values[start : start + length]
        start += length
        yield number, Series(found.steps, part, found.times, found.replaces)


def _decode_earlier_batch(data: Buffer) -> Iterator[tuple[int, Series]]:
    """Without times of its own; each value replaced the earlier one of its step."""
    count = int(np.frombuffer(data, "<u4", 1)[0])
    numbers = np.frombuffer(data, "<u4", count, 4).tolist()
    ends = np.cumsum(np.frombuffer(data, "<u4", count, 4 + 4 * count)).tolist()
    total, start = (ends[-1] if ends else 0), 4 + 8 * count
    steps = np.frombuffer(data, "<i8", total, start)
    values = np.frombuffer(data, "<f8", total, start + 8 * total)
    replaces = np.ones(total, np.bool_)
    for number, first, end in zip(numbers, [0, *ends], ends, strict=False):
        yield number, Series(steps[first:end], values[first:end], replaces=replaces[first:end])


def encode_block(series: Series) -> bytes:
    """`series` is ordered and has at least one value."""
    width, stride, steps = _encode_steps(series.steps)
    flags, values = _encode_values(series.values)
    times = b""
    if series.times is not None and not bool(np.isnan(series.times).all()):
        time_flags, content = _encode_values(series.times)
        flags |= _TIMES
        times = _COLUMN.pack(time_flags, len(content)) + content
    header = _HEADER.pack(width, flags, len(series), int(series.steps[0]), stride)
    return header + steps + times + values


def decode_block(data: Buffer) -> Series:
    width, flags, count, first, stride = _HEADER.unpack_from(data)
    at, rest = _HEADER.size, memoryview(data)
    if width:
        deltas = np.frombuffer(data, f"<u{width}", count - 1, at)
        steps = np.empty(count, np.int64)
        steps[0] = first
        np.cumsum(deltas, dtype=np.int64, out=steps[1:])
        steps[1:] += first
        at += width * (count - 1)
    else:
        steps = first + stride * np.arange(count, dtype=np.int64)
    times = None
    if flags & _TIMES:
        time_flags, length = _COLUMN.unpack_from(data, at)
        at += _COLUMN.size
        times = _decode_values(rest[at : at + length], time_flags, count)
        at += length
    return Series(steps, _decode_values(rest[at:], flags, count), times)


def _encode_steps(steps: Steps) -> tuple[int, int, bytes]:
    """Bytes for each difference, 0 if all are the same; that difference; the differences."""
    if len(steps) == 1:
        return 0, 1, b""
    deltas = np.diff(steps)
    if bool(np.all(deltas == deltas[0])):
        return 0, int(deltas[0]), b""
    largest = int(deltas.max())
    width = next(width for width in (1, 2, 4, 8) if largest < 1 << 8 * width)
    return width, 0, deltas.astype(f"<u{width}").tobytes()


def _encode_values(values: Values) -> tuple[int, bytes]:
    flags, exact = 0, np.asarray(values, "<f8")
    with np.errstate(over="ignore"):
        short = exact.astype("<f4")
    if np.array_equal(short.astype("<f8"), exact, equal_nan=True):
        flags, exact = _FLOAT32, short
    raw = exact.tobytes()
    # Bytes of equal significance side by side compress best.
    shuffled = np.frombuffer(raw, np.uint8).reshape(len(exact), -1).T.tobytes()
    compressed = zlib.compress(shuffled, 1)
    if len(compressed) < _WORTHWHILE * len(raw):
        return flags | _COMPRESSED, compressed
    return flags, raw


def _decode_values(data: Buffer, flags: int, count: int) -> Values:
    kind = "<f4" if flags & _FLOAT32 else "<f8"
    if flags & _COMPRESSED:
        shuffled = np.frombuffer(zlib.decompress(data), np.uint8).reshape(-1, count)
        return np.ascontiguousarray(shuffled.T).view(kind).reshape(count).astype(np.float64)
    return np.frombuffer(data, kind, count).astype(np.float64)


def outline(series: Series) -> Series:
    """A few of the points: the first and last, and the extremes of equal parts.

    A part whose values are not all finite is represented by the first such value as well.
    """
    count = len(series)
    if count <= 2 * OUTLINE_PARTS:
        return series
    length = -(-count // OUTLINE_PARTS)
    starts = np.arange(0, count, length)
    finite = np.isfinite(series.values)
    padding = len(starts) * length - count

    def by_part(values: Values, fill: float) -> Values:
        padded = np.append(values, np.full(padding, fill)) if padding else values
        return padded.reshape(len(starts), length)

    low = by_part(np.where(finite, series.values, np.inf), np.inf).argmin(1)
    high = by_part(np.where(finite, series.values, -np.inf), -np.inf).argmax(1)
    kept = [starts + low, starts + high, [0, count - 1]]
    if not finite.all():
        odd = by_part(np.where(finite, 0.0, 1.0), 0.0)
        kept.append((starts + odd.argmax(1))[odd.any(1)])
    chosen = np.unique(np.concatenate(kept))
    return Series(series.steps[chosen], series.values[chosen])


def encode_outline(series: Series) -> bytes:
    chosen = outline(series)
    return np.asarray(chosen.steps, "<i8").tobytes() + np.asarray(chosen.values, "<f8").tobytes()


def decode_outlines(outlines: Sequence[Buffer]) -> Series:
    """The outlines of consecutive blocks as one series."""
    if not outlines:
        return EMPTY
    return Series(
        np.concatenate([np.frombuffer(one, "<i8", len(one) // 16) for one in outlines]),
        np.concatenate([np.frombuffer(one, "<f8", offset=len(one) // 2) for one in outlines]),
    )
