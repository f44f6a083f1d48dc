"""TensorBoard's event files: scalars and hyperparameters, without TensorBoard.

https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heimdall_sdk.importing import protobuf
from heimdall_sdk.importing.protobuf import BYTES, FIXED32, FIXED64, VARINT
from heimdall_sdk.importing.runs import Omissions, RecordedRun, UnreadableError, identify
from heimdall_sdk.reporter import PointTuple

MARK = "tfevents"
MAX_RECORD_BYTES = 1 << 30
_HPARAMS = "_hparams_/"
# Of TensorProto: its types, and the fields of their values.
_DOUBLE, _FLOAT = 2, 1
_VALUE_NAMES = {4: "images", 5: "histograms", 6: "audio", 8: "tensors (text, images, histograms)"}


@dataclass
class _Event:
    time: float = 0.0
    step: int = 0
    scalars: dict[str, float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def find_event_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if MARK in path.name else []
    return sorted(found for found in path.rglob(f"*{MARK}*") if found.is_file())


def read_tensorboard(path: Path) -> Iterator[RecordedRun]:
    """Each folder with event files is a run."""
    by_folder: dict[Path, list[Path]] = {}
    for file in find_event_files(path):
        by_folder.setdefault(file.parent, []).append(file)
    root = path if path.is_dir() else path.parent
    for folder, files in by_folder.items():
        relative = folder.relative_to(root).as_posix()
        name = root.resolve().name if relative == "." else relative
        yield _run(folder, files, name, None if relative == "." else root.resolve().name)


def _run(folder: Path, files: list[Path], name: str, project: str | None) -> RecordedRun:
    config: dict[str, Any] = {}
    for file in files:
        for event in _events(file, Omissions()):
            config.update(event.config)

    def points(omissions: Omissions) -> Iterator[PointTuple]:
        for file in files:
            yield from _points(file, omissions)

    return RecordedRun(
        source=folder,
        identity=identify("tensorboard", files[0].name, next(_records(files[0]), b"")),
        name=name,
        read_points=points,
        project=project,
        config=config,
        notes=f"Imported from TensorBoard event files in {name}.",
    )


def _points(file: Path, omissions: Omissions) -> Iterator[PointTuple]:
    """Scalars of one step that follow each other are one point."""
    step, time, values = 0, 0.0, dict[str, float]()
    for event in _events(file, omissions):
        for kind in event.others:
            omissions.add(kind)
        if not event.scalars:
            continue
        if event.step < 0:
            omissions.add("scalars with negative steps", len(event.scalars))
            continue
        if values and (event.step != step or not values.keys().isdisjoint(event.scalars)):
            yield step, time, None, values
            values = {}
        step, time = event.step, event.time
        values.update(event.scalars)
    if values:
        yield step, time, None, values


def _events(file: Path, omissions: Omissions) -> Iterator[_Event]:
    try:
        for number, record in enumerate(_records(file, omissions)):
            yield _event(record, f"{file}: record {number}")
    except OSError as error:
        raise UnreadableError(f"{file} cannot be read ({error.strerror}).") from error


def _records(file: Path, omissions: Omissions | None = None) -> Iterator[bytes]:
    """TFRecords: length, checksum of the length, content, checksum of the content."""
    with file.open("rb") as source:
        while header := source.read(12):
            if len(header) == 12:
                length, checksum = struct.unpack("<QI", header)
                if length > MAX_RECORD_BYTES or _masked_crc32c(header[:8]) != checksum:
                    raise UnreadableError(
                        f"{file} is not an event file, or is damaged at byte {source.tell() - 12}."
                    )
                content = source.read(length + 4)
                if len(content) == length + 4:
                    yield content[:-4]
                    continue
            if omissions is not None:
                omissions.add("an event at the end that was not written completely")
            return


def _event(record: bytes, place: str) -> _Event:
    event = _Event()
    try:
        _parse(record, event)
    except (ValueError, struct.error) as error:
        raise UnreadableError(f"{place} is not an event ({error}).") from error
    return event


def _parse(record: bytes, event: _Event) -> None:
    for number, kind, value in protobuf.fields(record):
        if (number, kind) == (1, FIXED64):
            event.time = protobuf.to_double(_bytes(value))
        elif (number, kind) == (2, VARINT):
            event.step = protobuf.signed(_int(value))
        elif (number, kind) == (4, BYTES):
            event.others.append("the graph of the model")
        elif (number, kind) == (5, BYTES):
            for inner, inner_kind, content in protobuf.fields(_bytes(value)):
                if (inner, inner_kind) == (1, BYTES):
                    _add_value(event, _bytes(content))


def _add_value(event: _Event, data: bytes) -> None:
    tag, scalar, other, metadata = "", None, "", b""
    for number, kind, value in protobuf.fields(data):
        if (number, kind) == (1, BYTES):
            tag = _bytes(value).decode(errors="replace")
        elif (number, kind) == (2, FIXED32):
            scalar = protobuf.to_float(_bytes(value))
        elif (number, kind) == (9, BYTES):
            metadata = _bytes(value)
        elif number in _VALUE_NAMES and kind == BYTES:
            other = _VALUE_NAMES[number]
            if number == 8:
                scalar = _scalar_of_tensor(_bytes(value))
    if tag.startswith(_HPARAMS):
        event.config.update(_hyperparameters(metadata))
    elif scalar is not None:
        event.scalars[tag] = scalar
    elif other:
        event.others.append(other)


def _scalar_of_tensor(data: bytes) -> float | None:
    """The number of a tensor without dimensions, as TensorFlow 2 writes scalars."""
    dtype, content, has_dimensions = 0, b"", False
    for number, kind, value in protobuf.fields(data):
        if (number, kind) == (1, VARINT):
            dtype = _int(value)
        elif (number, kind) == (2, BYTES):
            has_dimensions = any(one == 2 for one, _, _ in protobuf.fields(_bytes(value)))
        elif number in (4, 5, 6) and kind != VARINT:
            content = _bytes(value)
    if has_dimensions:
        return None
    if dtype == _DOUBLE and len(content) == 8:
        return protobuf.to_double(content)
    return protobuf.to_float(content) if dtype == _FLOAT and len(content) == 4 else None


def _hyperparameters(metadata: bytes) -> dict[str, Any]:
    """From the metadata of the plugin `hparams`: its session's start has a map of values."""
    plugin = _message(_message(metadata, 1), 2)
    found: dict[str, Any] = {}
    for number, kind, entry in protobuf.fields(_message(plugin, 3)):
        if (number, kind) == (1, BYTES):
            parts = {one: value for one, _, value in protobuf.fields(_bytes(entry))}
            name = _bytes(parts.get(1, b"")).decode(errors="replace")
            found[name] = _json_value(_bytes(parts.get(2, b"")))
    return found


def _message(data: bytes, wanted: int) -> bytes:
    return next(
        (_bytes(value) for number, kind, value in protobuf.fields(data)
         if number == wanted and kind == BYTES),
        b"",
    )  # fmt: skip


def _json_value(data: bytes) -> Any:
    """google.protobuf.Value"""
    for number, kind, value in protobuf.fields(data):
        if (number, kind) == (2, FIXED64):
            number_value = protobuf.to_double(_bytes(value))
            return int(number_value) if number_value.is_integer() else number_value
        if (number, kind) == (3, BYTES):
            return _bytes(value).decode(errors="replace")
        if (number, kind) == (4, VARINT):
            return bool(value)
    return None


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands in place of bytes")
    return value


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes stand in place of a number")
    return value


def _table() -> list[int]:
    entries = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901
        entries.append(byte)
    return entries


_CRC32C = _table()


def _masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
