"""A job as a TensorBoard event file: one scalar per metric and epoch.

The records are streamed, which tensorboardX's own writer cannot do (ADR 24).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping

from training.api.exports.tabular import epoch_pages
from training.models import Job

FLOAT32_MAX = (2 - 2**-23) * 2.0**127


def event_file(job: Job) -> Iterator[bytes]:
    """The step is the epoch, the wall time its end. Values that are not finite are omitted."""
    # Imported here: protobuf costs 0.2 s, which only processes that export have to pay.
    from tensorboardX.proto.event_pb2 import Event

    started_at = (job.started_at or job.created_at).timestamp()
    yield _record(Event(wall_time=started_at, file_version="brain.Event:2").SerializeToString())
    for page in epoch_pages(job):
        yield b"".join(
            _record(_scalars(epoch.at.timestamp(), epoch.epoch, epoch.metrics)) for epoch in page
        )


def _scalars(wall_time: float, step: int, metrics: Mapping[str, float | None]) -> bytes:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    values = [
        Summary.Value(tag=tag, simple_value=_float32(value))
        for tag, value in metrics.items()
        if value is not None and math.isfinite(value)
    ]
    event = Event(wall_time=wall_time, step=step, summary=Summary(value=values))
    return bytes(event.SerializeToString())


def _float32(value: float) -> float:
    """Infinity for a value beyond float32's range, the type of the file format."""
    return math.copysign(math.inf, value) if abs(value) > FLOAT32_MAX else value


def _record(content: bytes) -> bytes:
    """One TFRecord: length and content, each followed by its masked CRC-32C."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(content))
    checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return length + next(checksums) + content + next(checksums)
