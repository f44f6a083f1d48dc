"""A run as an event file of TensorBoard: one scalar for each series and epoch.

The format is small and has been the same since 2015, so it is written here. Of `tensorboard` (grpc,
a web server) nearly all is for showing, and torch's writer needs that as well as torch, which the
web process does not load. https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto
(event.proto, summary.proto), framed as TFRecord with CRC-32C (RFC 3720, B.4).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from functools import cache

from training.api.exports.tabular import epoch_pages
from training.models import Job

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reversed
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types of protocol buffers


def event_file(job: Job) -> Iterator[bytes]:
    """The step is the epoch, the wall time is its end; what is not a number is left out."""
    began = (job.started_at or job.created_at).timestamp()
    version = _field(3, _BYTES, _counted(b"brain.Event:2"))
    yield record(_field(1, _DOUBLE, struct.pack("<d", began)) + version)
    for page in epoch_pages(job):
        yield b"".join(record(event(one.at.timestamp(), one.epoch, one.metrics)) for one in page)


def event(at: float, step: int, values: Mapping[str, float | None]) -> bytes:
    """An `Event` with a `Summary`; `at` in seconds since 1970."""
    summary = b"".join(
        _field(1, _BYTES, _counted(_scalar(tag, value)))
        for tag, value in values.items()
        if value is not None and math.isfinite(value)
    )
    return (
        _field(1, _DOUBLE, struct.pack("<d", at))
        + _field(2, _VARINT, _varint(step))
        + _field(5, _BYTES, _counted(summary))
    )


def record(content: bytes) -> bytes:
    """One TFRecord: its length and its content, each with a masked checksum."""
    length = struct.pack("<Q", len(content))
    return length + _masked(length) + content + _masked(content)


def crc32c(content: bytes) -> int:
    table, value = _table(), 0xFFFFFFFF
    for byte in content:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _masked(content: bytes) -> bytes:
    value = crc32c(content)
    rotated = (value >> 15 | value << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        return value

    return tuple(map(entry, range(256)))


def _scalar(tag: str, value: float) -> bytes:
    return _field(1, _BYTES, _counted(tag.encode())) + _field(2, _FLOAT, struct.pack("<f", value))


def _field(number: int, kind: int, content: bytes) -> bytes:
    return _varint(number << 3 | kind) + content


def _counted(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
