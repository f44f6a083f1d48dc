"""TensorBoard's event files, without TensorBoard. They can be read while they grow.

https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from heimdall_sdk.crc32c import masked_crc32c
from heimdall_sdk.event_values import Unsupported, Value, read_values
from heimdall_sdk.importing import protobuf
from heimdall_sdk.importing.protobuf import BYTES, FIXED64, VARINT, as_bytes, as_int

MARK = "tfevents"  # part of the name of each event file
MAX_RECORD_BYTES = 1 << 30
# A larger record is skipped.
MAX_READ_BYTES = 64 << 20
_HEADER = struct.Struct("<QI")


class DamagedError(ValueError):
    """The file is not an event file from `position` on."""

    def __init__(self, path: Path, position: int, reason: str) -> None:
        super().__init__(f"{path} is damaged at byte {position}: {reason}.")
        self.position, self.reason = position, reason


class Event(NamedTuple):
    """One record of the file; the next one begins at `end`.

    Several images of one summary have the same tag.
    """

    end: int
    step: int
    wall_time: float
    values: list[tuple[str, Value]]


def read_events(path: Path, offset: int = 0) -> Iterator[Event]:
    """Yield the complete records from `offset` on.

    An incomplete record ends the iteration. When the file has grown, read on at the `end` of the
    last event. Raises DamagedError, or OSError.
    """
    for start, end, content in read_records(path, offset):
        if content is None:
            kind = f"records larger than {MAX_READ_BYTES >> 20} MiB"
            yield Event(end, 0, 0.0, [("", Unsupported(kind))])
            continue
        try:
            event = _event(end, content)
        except (ValueError, struct.error) as error:
            raise DamagedError(path, start, f"the record is not an event ({error})") from error
        yield event


def read_records(path: Path, offset: int = 0) -> Iterator[tuple[int, int, bytes | None]]:
    """Yield begin, end and content of each complete record; no content of one that is too large.

    Each is a TFRecord: length, checksum of the length, content, checksum of the content.
    """
    with path.open("rb") as source:
        size = source.seek(0, 2)
        source.seek(offset)
        while True:
            header = source.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            length, checksum = _HEADER.unpack(header)
            if length > MAX_RECORD_BYTES or masked_crc32c(header[:8]) != checksum:
                raise DamagedError(path, offset, "the length of a record is wrong")
            end = offset + _HEADER.size + length + 4
            if end > size:
                return
            if length > MAX_READ_BYTES:
                source.seek(end)
                yield offset, end, None
            else:
                content = source.read(length + 4)
                if len(content) < length + 4:
                    return
                if masked_crc32c(content[:-4]) != int.from_bytes(content[-4:], "little"):
                    raise DamagedError(path, offset, "the checksum of a record is wrong")
                yield offset, end, content[:-4]
            offset = end


def _event(end: int, record: bytes) -> Event:
    wall_time, step, values = 0.0, 0, list[tuple[str, Value]]()
    for number, kind, value in protobuf.fields(record):
        if (number, kind) == (1, FIXED64):
            wall_time = protobuf.to_double(as_bytes(value))
        elif (number, kind) == (2, VARINT):
            step = protobuf.signed(as_int(value))
        elif (number, kind) == (4, BYTES):
            values.append(("", Unsupported("the graph of the model")))
        elif (number, kind) == (5, BYTES):
            for inner, inner_kind, content in protobuf.fields(as_bytes(value)):
                if (inner, inner_kind) == (1, BYTES):
                    values += read_values(as_bytes(content))
    return Event(end, step, wall_time, values)
