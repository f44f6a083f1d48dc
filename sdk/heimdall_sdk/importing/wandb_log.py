"""Records of a `.wandb` file, which an offline run of Weights & Biases has written.

https://github.com/google/leveldb/blob/main/doc/log_format.md, with a header and zlib's CRC-32.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from heimdall_sdk.importing.runs import Omissions, UnreadableError

_MAGIC = b":W&B\xe1\xbe"
_HEADER_SIZE = len(_MAGIC) + 1  # and the version
_BLOCK = 32 * 1024
_CHUNK = struct.Struct("<IHB")  # checksum, length, kind
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
TORN = "a record at the end that was not written completely"


def read_records(path: Path, omissions: Omissions) -> Iterator[bytes]:
    """Raises UnreadableError."""
    try:
        with path.open("rb") as file:
            data = file.read()
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read ({error.strerror}).") from error
    if not data.startswith(_MAGIC):
        raise UnreadableError(f"{path} is not a file of Weights & Biases.")
    position, parts = _HEADER_SIZE, list[bytes]()
    while position < len(data):
        room = _BLOCK - position % _BLOCK
        if room < _CHUNK.size:
            position += room
            continue
        chunk = _read_chunk(path, data, position)
        if chunk is None:
            break
        kind, content = chunk
        position += _CHUNK.size + len(content)
        if kind in (_FULL, _FIRST):
            parts = []
        parts.append(content)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
            parts = []
    if parts or position < len(data):
        omissions.add(TORN)


def _read_chunk(path: Path, data: bytes, position: int) -> tuple[int, bytes] | None:
    """Kind and content; None if the end of the file was not written completely."""
    start = position + _CHUNK.size
    if start > len(data):
        return None
    checksum, length, kind = _CHUNK.unpack_from(data, position)
    content = data[start : start + length]
    if len(content) < length:
        return None
    # The checksum covers the kind as well.
    covered = data[start - 1 : start + length]
    if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or zlib.crc32(covered) != checksum:
        raise UnreadableError(f"{path} is damaged at byte {position}.")
    return kind, content
