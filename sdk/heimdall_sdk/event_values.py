"""What a TensorBoard event contains: the values of a summary, in the forms of version 1 and 2.

https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/summary.proto
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heimdall_sdk.importing import protobuf
from heimdall_sdk.importing.protobuf import BYTES, FIXED64, VARINT, as_bytes, as_int

PERCENTILES = (5, 25, 50, 75, 95)
_HPARAMS = "_hparams_/"
_SIGNATURES = {b"\x89PNG": ".png", b"GIF8": ".gif", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
# Types of TensorProto, as formats of `struct`.
_NUMBERS = {1: "f", 2: "d"}
_STRING = 7


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of values; each lies between its edge and the next one."""

    edges: tuple[float, ...]
    counts: tuple[float, ...]

    def percentiles(self) -> dict[str, float]:
        """By name: p05, p25, …; interpolated linearly within a bucket, empty without values."""
        total = sum(self.counts)
        if not total > 0:
            return {}
        return {f"p{percent:02}": self._at(total * percent / 100) for percent in PERCENTILES}

    def _at(self, rank: float) -> float:
        below = 0.0
        for number, count in enumerate(self.counts):
            if count > 0 and below + count >= rank:
                low, high = self.edges[number], self.edges[number + 1]
                return low + (high - low) * (rank - below) / count
            below += count
        return self.edges[-1]


@dataclass(frozen=True, slots=True)
class Image:
    """The content of an image file; `suffix` is empty for an unknown format."""

    content: bytes
    suffix: str


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An unsupported kind of value, in the plural, such as graphs, audio or meshes."""

    kind: str


Value = float | Histogram | Image | Text | Hyperparameters | Unsupported


def read_values(data: bytes) -> list[tuple[str, Value]]:
    """The values of one Summary.Value, all with its tag.

    Raises ValueError or struct.error if it is not one.
    """
    parts = {number: value for number, _, value in protobuf.fields(data)}
    tag = as_bytes(parts.get(1, b"")).decode(errors="replace")
    metadata = as_bytes(parts.get(9, b""))
    if tag.startswith(_HPARAMS):
        values = _hyperparameters(metadata)
        return [(tag, Hyperparameters(values))] if values else []
    return [(tag, value) for value in _of_parts(parts, metadata)]


def _of_parts(parts: Mapping[int, int | bytes], metadata: bytes) -> list[Value]:
    """By the numbers of the fields of Summary.Value."""
    if 2 in parts:
        return [protobuf.to_float(as_bytes(parts[2]))]
    if 4 in parts:
        return [_image(_message(as_bytes(parts[4]), 4))]
    if 5 in parts:
        return [_histogram(as_bytes(parts[5]))]
    if 6 in parts:
        return [Unsupported("audio clips")]
    if 8 in parts:
        plugin = _message(_message(metadata, 1), 1).decode(errors="replace")
        return _of_tensor(_Tensor.parse(as_bytes(parts[8])), plugin)
    return []


def _histogram(data: bytes) -> Histogram:
    parts = {number: as_bytes(value) for number, kind, value in protobuf.fields(data) if kind}
    limits, counts = (_unpack("d", parts.get(number, b"")) for number in (6, 7))
    if len(limits) != len(counts):
        raise ValueError("a histogram has buckets without a limit")
    # Without values, the lowest is infinite, or missing.
    low, high = (protobuf.to_double(parts.get(number, bytes(8))) for number in (1, 2))
    edges = [low, *limits]
    return Histogram(tuple(min(max(edge, low), max(low, high)) for edge in edges), counts)


def _image(content: bytes) -> Image:
    found = (suffix for start, suffix in _SIGNATURES.items() if content.startswith(start))
    return Image(content, next(found, ""))


@dataclass(frozen=True, slots=True)
class _Tensor:
    shape: tuple[int, ...]
    numbers: tuple[float, ...]
    strings: list[bytes]

    @classmethod
    def parse(cls, data: bytes) -> _Tensor:
        dtype, shape, content, strings = 0, list[int](), b"", list[bytes]()
        for number, kind, value in protobuf.fields(data):
            if (number, kind) == (1, VARINT):
                dtype = as_int(value)
            elif (number, kind) == (2, BYTES):
                shape = [_size(as_bytes(one)) for field, _, one in protobuf.fields(as_bytes(value))
                         if field == 2]  # fmt: skip
            elif (number, kind) == (8, BYTES):
                strings.append(as_bytes(value))
            elif number in (4, 5, 6) and kind != VARINT:  # the bytes, or the floats or doubles
                content += as_bytes(value)
        numbers = _unpack(_NUMBERS[dtype], content) if dtype in _NUMBERS else ()
        return cls(tuple(shape), numbers, strings if dtype == _STRING else [])


def _of_tensor(tensor: _Tensor, plugin: str) -> list[Value]:
    """Scalars, histograms, images and texts, as TensorFlow 2 writes them."""
    if plugin in ("scalars", "") and len(tensor.numbers) == 1 and not tensor.shape:
        return [tensor.numbers[0]]
    if plugin == "text" and tensor.strings:
        return [Text("\n".join(one.decode(errors="replace") for one in tensor.strings))]
    if plugin == "images":
        return [_image(one) for one in tensor.strings[2:]]  # after width and height
    if plugin == "histograms" and tensor.shape[1:] == (3,):
        rows = list(zip(*[iter(tensor.numbers)] * 3, strict=False))  # left, right, count
        edges = (*(left for left, _, _ in rows), *(right for _, right, _ in rows[-1:]))
        return [Histogram(edges, tuple(count for _, _, count in rows))]
    names = {"": "tensors", "audio": "audio clips", "images": "images"}
    return [Unsupported(names.get(plugin, f"values of the plugin {plugin!r}"))]


def _hyperparameters(metadata: bytes) -> dict[str, Any]:
    """From the metadata of the plugin `hparams`: its session's start has a map of values."""
    plugin = _message(_message(metadata, 1), 2)
    found: dict[str, Any] = {}
    for number, kind, entry in protobuf.fields(_message(plugin, 3)):
        if (number, kind) == (1, BYTES):
            parts = {one: value for one, _, value in protobuf.fields(as_bytes(entry))}
            name = as_bytes(parts.get(1, b"")).decode(errors="replace")
            found[name] = _json_value(as_bytes(parts.get(2, b"")))
    return found


def _json_value(data: bytes) -> Any:
    """google.protobuf.Value"""
    for number, kind, value in protobuf.fields(data):
        if (number, kind) == (2, FIXED64):
            number_value = protobuf.to_double(as_bytes(value))
            return int(number_value) if number_value.is_integer() else number_value
        if (number, kind) == (3, BYTES):
            return as_bytes(value).decode(errors="replace")
        if (number, kind) == (4, VARINT):
            return bool(value)
    return None


def _message(data: bytes, wanted: int) -> bytes:
    return next(
        (as_bytes(value) for number, kind, value in protobuf.fields(data)
         if number == wanted and kind == BYTES),
        b"",
    )  # fmt: skip


def _size(dimension: bytes) -> int:
    return next(
        (as_int(value) for number, _, value in protobuf.fields(dimension) if number == 1), 0
    )


def _unpack(form: str, content: bytes) -> tuple[Any, ...]:
    return struct.unpack(f"<{len(content) // struct.calcsize('<' + form)}{form}", content)
