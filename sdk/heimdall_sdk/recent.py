"""The newest points in shared memory, so that a killed process loses nothing that it logged.

A file on disk may make its writer wait; shared memory does not, and it outlives the process. Points
are held as binary numbers, because formatting takes longer than everything else that `log` does.
There are two buffers: one is filled while the other waits to be written to the spool. It is best
effort: while the spool cannot be written, what does not fit is not held.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from heimdall_sdk.reporter import PointTuple

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
BUFFER_BYTES = 256 << 10
# A buffer is filled up to here although all of it is written: changing it takes longer than a call.
SWAP_BYTES = BUFFER_BYTES // 2
_ORDER = struct.Struct("<Q")  # of the buffer among all that were filled
_NAMES = struct.Struct("<III")
_POINT = struct.Struct("<Iqdq")
_KIND = struct.Struct("<I")
_END, _NAMES_FOLLOW = 0, 0xFFFFFFFF  # other kinds are the number of the point's names
_NO_EPOCH = -(2**63)


class _Buffer:
    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self.is_written = True

    def clear(self, order: int) -> None:
        self.memory[: self.memory.tell()] = bytes(self.memory.tell())
        self.memory.seek(0)
        self.memory.write(_ORDER.pack(order))
        self.is_written = False


class RecentPoints:
    """Written by the process that logs; the caller serializes the calls."""

    def __init__(self, memories: list[mmap.mmap]) -> None:
        self._active, self._waiting = map(_Buffer, memories)
        self._order = 1
        self._active.clear(self._order)
        self._write = self._active.memory.write
        # Of the active buffer: by the names of a point, how it is packed.
        self._packers: dict[tuple[str, ...], tuple[Callable[..., bytes], int]] = {}

    @classmethod
    def create(cls, client_id: str) -> RecentPoints | None:
        try:
            return cls([_create(path) for path in shared_files(client_id)])
        except (OSError, AttributeError, ValueError):
            delete(client_id)
            return None

    def append(self, point: PointTuple) -> None:
        step, time, epoch, values = point
        names = tuple(values)
        try:
            pack, number = self._packers.get(names) or self._add_names(names)
            self._write(
                pack(number, step, time, _NO_EPOCH if epoch is None else epoch, *values.values())
            )
        except (ValueError, struct.error):
            return  # the buffer is full, or a step is too large

    def _add_names(self, names: tuple[str, ...]) -> tuple[Callable[..., bytes], int]:
        number = len(self._packers) + 1
        encoded = json.dumps(names).encode()
        self._active.memory.write(_NAMES.pack(_NAMES_FOLLOW, number, len(encoded)) + encoded)
        packer = struct.Struct(f"{_POINT.format}{len(names)}d").pack, number
        self._packers[names] = packer
        return packer

    @property
    def should_swap(self) -> bool:
        """Whether this buffer is nearly full and the other one is written."""
        return self._waiting.is_written and self._active.memory.tell() >= SWAP_BYTES

    def swap(self) -> None:
        """Fill the other buffer; this one is written next."""
        self._order += 1
        self._waiting.clear(self._order)
        self._active, self._waiting = self._waiting, self._active
        self._write = self._active.memory.write
        self._packers = {}

    def release(self) -> None:
        """The buffer that is not filled is in the spool."""
        self._waiting.is_written = True


def _create(path: Path) -> mmap.mmap:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # Reserved now: writing to memory that cannot be allocated would end the process.
        os.posix_fallocate(fd, 0, BUFFER_BYTES)
        return mmap.mmap(fd, BUFFER_BYTES)
    finally:
        os.close(fd)


def shared_files(client_id: str) -> list[Path]:
    return [SHARED_MEMORY / f"heimdall-{client_id}-{number}" for number in (0, 1)]


def delete(client_id: str) -> None:
    for path in shared_files(client_id):
        path.unlink(missing_ok=True)


def recover(client_id: str) -> list[PointTuple]:
    """The points that a process held when it ended; most of them are in the spool already."""
    buffers = []
    for path in shared_files(client_id):
        with suppress(OSError):
            content = path.read_bytes()
            if len(content) >= _ORDER.size and _ORDER.unpack_from(content)[0]:
                buffers.append((_ORDER.unpack_from(content)[0], content))
    return [point for _, content in sorted(buffers) for point in _points(content)]


def _points(content: bytes) -> Iterator[PointTuple]:
    names: dict[int, list[str]] = {}
    offset = _ORDER.size
    # What a process was writing when it was killed may be incomplete.
    with suppress(struct.error, ValueError, KeyError):
        while (kind := _KIND.unpack_from(content, offset)[0]) != _END:
            if kind == _NAMES_FOLLOW:
                _, number, size = _NAMES.unpack_from(content, offset)
                offset += _NAMES.size
                names[number] = json.loads(content[offset : offset + size])
                offset += size
                continue
            packed = struct.Struct(f"{_POINT.format}{len(names[kind])}d")
            _, step, time, epoch, *values = packed.unpack_from(content, offset)
            offset += packed.size
            yield (
                step,
                time,
                None if epoch == _NO_EPOCH else epoch,
                dict(zip(names[kind], values, strict=True)),
            )
