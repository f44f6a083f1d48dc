"""The wire format of protocol buffers: fields by number, without a schema.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_double, _float = struct.Struct("<d"), struct.Struct("<f")


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value; raises ValueError if the data is incomplete or invalid."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = _varint(data, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, position = _varint(data, position)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if position + size > end:
            raise ValueError("a field is incomplete")
        yield number, kind, data[position : position + size]
        position += size


def signed(value: int) -> int:
    """An int64, whose negative numbers are 64-bit two's complements."""
    return value - (1 << 64) if value >= 1 << 63 else value


def to_double(data: bytes) -> float:
    found: float = _double.unpack(data)[0]
    return found


def to_float(data: bytes) -> float:
    found: float = _float.unpack(data)[0]
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("the number is incomplete")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("expected bytes, found a number")
    return value


def as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("expected a number, found bytes")
    return value
