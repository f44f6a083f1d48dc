"""Batches and blocks of points as bytes.

A batch holds the values of one append, uncompressed: it is written once, read a few times, and
then merged into blocks. A block holds consecutive steps of one series, compactly.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Values = NDArray[np.float64]
Buffer = bytes | memoryview

# An outline has the extremes of this many equal parts of a block.
OUTLINE_PARTS = 16

_HEADER = struct.Struct("<BBIqq")  # step width, flags of the values, count, first step, stride
_FLOAT32, _COMPRESSED = 1, 2
# Compressed only if that saves a quarter: random mantissas do not compress.
_WORTHWHILE = 0.75


@dataclass(frozen=True, slots=True)
class Series:
    """Values by step. `sorted_unique` gives ascending steps, the last value of each."""

    steps: Steps
    values: Values

    def __len__(self) -> int:
        return len(self.steps)

    def sorted_unique(self) -> Series:
        steps, values = self.steps, self.values
        if len(steps) < 2 or bool(np.all(steps[1:] > steps[:-1])):
            return self
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        last = np.append(steps[1:] != steps[:-1], True)
        return Series(steps[last], values[last])

    def between(self, start: int, end: int) -> Series:
        return Series(self.steps[start:end], self.values[start:end])


EMPTY = Series(np.empty(0, np.int64), np.empty(0))


def merge(parts: Sequence[Series]) -> Series:
    """The parts from the oldest to the newest as one series."""
    if len(parts) == 1:
        return parts[0].sorted_unique()
    if not parts:
        return EMPTY
    return Series(
        np.concatenate([one.steps for one in parts]), np.concatenate([one.values for one in parts])
    ).sorted_unique()


def encode_batch(series: Mapping[int, Series]) -> bytes:
    """The series by number, in the order of arrival."""
    parts = list(series.values())
    return b"".join([
        np.array([len(parts)], "<u4").tobytes(),
        np.array(list(series), "<u4").tobytes(),
        np.array([len(one) for one in parts], "<u4").tobytes(),
        *(np.asarray(one.steps, "<i8").tobytes() for one in parts),
        *(np.asarray(one.values, "<f8").tobytes() for one in parts),
    ])  # fmt: skip


def decode_batch(data: Buffer) -> Iterator[tuple[int, Series]]:
    count = int(np.frombuffer(data, "<u4", 1)[0])
    numbers = np.frombuffer(data, "<u4", count, 4).tolist()
    ends = np.cumsum(np.frombuffer(data, "<u4", count, 4 + 4 * count)).tolist()
    total, start = (ends[-1] if ends else 0), 4 + 8 * count
    steps = np.frombuffer(data, "<i8", total, start)
    values = np.frombuffer(data, "<f8", total, start + 8 * total)
    for number, first, end in zip(numbers, [0, *ends], ends, strict=False):
        yield number, Series(steps[first:end], values[first:end])


def encode_block(series: Series) -> bytes:
    """`series` has ascending steps and at least one value."""
    steps, values = series.steps, series.values
    width, stride, encoded_steps = _encode_steps(steps)
    flags, encoded_values = _encode_values(values)
    header = _HEADER.pack(width, flags, len(steps), int(steps[0]), stride)
    return header + encoded_steps + encoded_values


def decode_block(data: Buffer) -> Series:
    width, flags, count, first, stride = _HEADER.unpack_from(data)
    at = _HEADER.size
    if width:
        deltas = np.frombuffer(data, f"<u{width}", count - 1, at)
        steps = np.empty(count, np.int64)
        steps[0] = first
        np.cumsum(deltas, dtype=np.int64, out=steps[1:])
        steps[1:] += first
        at += width * (count - 1)
    else:
        steps = first + stride * np.arange(count, dtype=np.int64)
    return Series(steps, _decode_values(memoryview(data)[at:], flags, count))


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
