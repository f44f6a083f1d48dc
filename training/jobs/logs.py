"""The output of each attempt: one file, which keeps the beginning and end of a long output.

Offsets count the bytes of the whole output. The bytes in between are a hole in the file, so the
offsets of the others do not change (ADR 31).
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from training.jobs.directories import attempt_directory

BLOCK_SIZE = 1 << 16


@dataclass(frozen=True, slots=True)
class Gap:
    """The bytes from `start` up to `end` that are no longer kept."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def __contains__(self, offset: int) -> bool:
        return self.start <= offset < self.end

    def describe(self) -> str:
        """One line for people who read the log."""
        return (
            f"[Heimdall: bytes {self.start} to {self.end - 1} of the output "
            f"({self.size / 1e6:,.1f} MB) are not kept.]"
        )


NO_GAP = Gap(0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of an output; `gap` is what is missing right before them."""

    start: int
    data: bytes
    gap: Gap | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class AttemptLog:
    """The output of one attempt. It may not exist yet: then it is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._gap_path = path.with_suffix(".gap")

    def size(self) -> int:
        """The bytes of the whole output, including those that are not kept."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def gap(self) -> Gap:
        try:
            start, end = self._gap_path.read_text("ascii").split()
        except FileNotFoundError:
            return NO_GAP
        return Gap(int(start), int(end))

    def declare_gap(self, gap: Gap) -> None:
        """Record the gap before its bytes are removed: see `read`."""
        temporary = self._gap_path.with_suffix(".gap-new")
        temporary.write_text(f"{gap.start} {gap.end}\n", "ascii")
        temporary.replace(self._gap_path)

    def read(self, offset: int, limit: int = BLOCK_SIZE) -> Piece:
        """At most `limit` bytes from `offset` on; empty at the end.

        The gap is read after the bytes. Bytes removed in between are therefore in it, and are not
        mistaken for zeros of the output.
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                return self._read(file.fileno(), offset, limit)
        except FileNotFoundError:
            return Piece(offset, b"")

    def _read(self, fd: int, wanted: int, limit: int) -> Piece:
        offset = wanted
        while True:
            data = os.pread(fd, limit, offset)
            gap = self.gap()
            if offset in gap:
                offset = gap.end
                continue
            if offset < gap.start:
                data = data[: gap.start - offset]
            return Piece(offset, data, Gap(wanted, offset) if offset > wanted else None)

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The kept bytes from `start` up to `end`, in blocks."""
        while start < end:
            piece = self.read(start, min(BLOCK_SIZE, end - start))
            if piece.gap and piece.end > end:
                piece = Piece(piece.start, piece.data[: max(end - piece.start, 0)], piece.gap)
            if piece.data or piece.gap:
                yield piece
            if not piece.data:
                return
            start = piece.end

    def tail(self, limit: int) -> Piece:
        """The last `limit` bytes; an incomplete character at their beginning is left out."""
        size = self.size()
        start, data = max(size - limit, 0), b""
        for piece in self.pieces(start, size):
            if piece.gap:
                start, data = piece.start, b""
            data += piece.data
        cut = _continuation_bytes(data) if start else 0
        return Piece(start + cut, data[cut:])


def attempt_log(job_id: UUID, attempt: int) -> AttemptLog:
    return AttemptLog(attempt_directory(job_id, attempt) / "trainer.log")


def decode(data: bytes, *, final: bool) -> tuple[str, int]:
    """The text, and how many bytes it has; invalid bytes are replaced.

    Unless `final`, an incomplete character at the end is left for the next call.
    """
    return codecs.utf_8_decode(data, "replace", final)


def _continuation_bytes(data: bytes) -> int:
    """How many of the first bytes continue a character that began before them."""
    return next((i for i, byte in enumerate(data[:3]) if byte & 0xC0 != 0x80), min(len(data), 3))
