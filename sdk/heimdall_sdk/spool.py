"""The spool of a reported run: everything it reports, on disk until Heimdall has it.

One folder per run:

    run.json                   what registers the run
    records-<offset>.jsonl     one JSON record per line: points, and how the run ended
    output.log                 what the script printed
    artifacts/                 files to upload
    state.json                 how far it was sent
    lock                       locked while a process writes or sends

Offsets count bytes of the stream of records. It is cut into segments, each named by the offset at
which it starts; a segment that Heimdall has is deleted.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from heimdall_sdk.errors import notify_once
from heimdall_sdk.recent import delete, recover
from heimdall_sdk.reporter import PointTuple, json_values

DIRECTORY_VARIABLE = "HEIMDALL_SPOOL"
SEGMENT_BYTES = 32 << 20
# What waits in memory while the disk is full; the oldest is dropped beyond it.
MAX_MEMORY_BYTES = 64 << 20
MAX_OUTPUT_BYTES = 64 << 20
_STATE_BYTES = 1024


def spool_directory() -> Path:
    value = os.environ.get(DIRECTORY_VARIABLE)
    return Path(value).expanduser() if value else Path.home() / ".heimdall" / "spool"


@dataclass
class SendState:
    """How far the spool was sent: all before `start`, and perhaps batch `number` up to `end`.

    `end` is stored before the batch is sent. After a crash the same batch is sent again under the
    same number, so Heimdall applies it once.
    """

    job_id: str = ""
    start: int = 0
    end: int = 0
    number: int = 1
    output: int = 0
    finished: bool = False


class Spool:
    """One process writes and sends it, or `heimdall sync` sends it later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock_file: IO[bytes] | None = None
        self._guard = threading.Lock()
        # (offset, data) of what is not on disk: nothing, unless the disk is full.
        self._memory: deque[tuple[int, bytes]] = deque()
        self._memory_bytes = 0
        self._segment: int | None = None  # its file descriptor
        self._segment_start = 0
        self._written = 0
        self.end = 0
        self._output: int | None = None
        self.output_end = 0
        self._output_is_cut = False
        self._state_fd: int | None = None
        self._last_state = b""
        self.dropped = 0

    @property
    def client_id(self) -> str:
        return self.folder.name

    # Opening

    def create(self, registration: dict[str, Any]) -> None:
        """Create the folder of a new run; raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.try_lock()
        (self.folder / "run.json").write_text(json.dumps(registration), encoding="utf-8")
        # Allocate its space now, so that it can be updated when the disk is full.
        self.save_state(SendState())

    def try_lock(self) -> bool:
        """Lock the spool for this process; False if another has it."""
        self._lock_file = (self.folder / "lock").open("wb")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock_file.close()
            self._lock_file = None
            return False
        return True

    def load(self) -> SendState:
        """Open what another process left; raises OSError or ValueError if it is unreadable."""
        segments = self._segments()
        if segments:
            start, path = segments[-1]
            self._segment_start = start
            self._segment = os.open(path, os.O_WRONLY | os.O_APPEND)
            self.end = self._written = start + os.fstat(self._segment).st_size
        output = self.folder / "output.log"
        self.output_end = output.stat().st_size if output.exists() else 0
        text = (self.folder / "state.json").read_text(encoding="utf-8").strip("\0 \n")
        known = {field.name for field in fields(SendState)}
        values = {name: value for name, value in json.loads(text).items() if name in known}
        state = SendState(**values)
        if not segments:
            self.end = self._written = state.start
        self._recover_recent()
        return state

    def _recover_recent(self) -> None:
        """Append the points that a killed process had logged but not written."""
        self._cut_half_line()
        lines = [encode_point(point) for point in recover(self.client_id)]
        if not lines:
            return
        newest = b""
        for line, _ in self.read(max(self._segment_start, self.end - (1 << 20)), 2 << 20):
            newest = line + b"\n" if line.startswith(b'{"step"') else newest
        if newest in lines:
            self.append(b"".join(lines[lines.index(newest) + 1 :]))
        elif not self.end:
            self.append(b"".join(lines))

    def _cut_half_line(self) -> None:
        if self._segment is None or self.end == self._segment_start or self._is_line_start():
            return
        content = self._segment_path.read_bytes()
        os.truncate(self._segment_path, content.rfind(b"\n") + 1)
        self.end = self._written = self._segment_start + content.rfind(b"\n") + 1

    @property
    def registration(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return values

    def close(self) -> None:
        for fd in (self._segment, self._output, self._state_fd):
            if fd is not None:
                os.close(fd)
        self._segment = self._output = self._state_fd = None
        self.release_lock()

    def release_lock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def delete(self) -> None:
        self.close()
        delete(self.client_id)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Writing: one thread

    def append(self, lines: bytes) -> None:
        """Append complete lines; if the disk is full they wait in memory."""
        with self._guard:
            self._memory.append((self.end, lines))
            self._memory_bytes += len(lines)
            self.end += len(lines)
            self.write_memory()
            while self._memory_bytes > MAX_MEMORY_BYTES and len(self._memory) > 1:
                self._drop_oldest()

    def retry(self) -> None:
        """Write what waits in memory, if the disk has space again."""
        if self._memory:
            with self._guard:
                self.write_memory()

    @property
    def is_behind(self) -> bool:
        return bool(self._memory)

    def write_memory(self) -> None:
        while self._memory:
            offset, data = self._memory[0]
            try:
                size = os.write(self._segment_at(offset), data)
            except OSError as error:
                notify_once(
                    "spool",
                    f"the spool {self.folder} cannot be written ({error.strerror}); what is "
                    f"reported waits in memory, at most {MAX_MEMORY_BYTES >> 20} MB.",
                )
                return
            self._written = offset + size
            self._memory_bytes -= size
            if size == len(data):
                self._memory.popleft()
            else:
                self._memory[0] = (offset + size, data[size:])

    def _segment_at(self, offset: int) -> int:
        """The descriptor of the segment to which the record at `offset` is appended."""
        is_continued = self._segment is not None and offset == self._written
        if is_continued and offset - self._segment_start < SEGMENT_BYTES:
            assert self._segment is not None
            return self._segment
        if is_continued and not self._is_line_start():
            assert self._segment is not None
            return self._segment
        path = self.folder / f"records-{offset:015d}.jsonl"
        segment = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if self._segment is not None:
            os.fsync(self._segment)
            os.close(self._segment)
        self._segment, self._segment_start = segment, offset
        return segment

    @property
    def _segment_path(self) -> Path:
        return self.folder / f"records-{self._segment_start:015d}.jsonl"

    def _is_line_start(self) -> bool:
        with self._segment_path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _drop_oldest(self) -> None:
        _, data = self._memory.popleft()
        self._memory_bytes -= len(data)
        self.dropped += data.count(b"\n")
        notify_once(
            "dropped", "the disk and the memory buffer are full: the oldest points are lost."
        )

    def append_output(self, data: bytes) -> None:
        """Append output of the script, up to the limit."""
        if self._output_is_cut:
            return
        if self.output_end + len(data) > MAX_OUTPUT_BYTES:
            self._output_is_cut = True
            data = f"\n[heimdall: output beyond {MAX_OUTPUT_BYTES >> 20} MB is not kept]\n".encode()
        try:
            if self._output is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._output = os.open(self.folder / "output.log", flags, 0o600)
            self.output_end += os.write(self._output, data)
        except OSError:
            return  # the records matter more

    def sync(self) -> None:
        """Sync written data to the disk, however long that takes."""
        for fd in (self._segment, self._output, self._state_fd):
            if fd is not None:
                try:
                    os.fsync(fd)
                except OSError:
                    continue

    # Sending: one thread

    def save_state(self, state: SendState) -> None:
        """Overwrite the state in place: that needs no space on the disk."""
        encoded = json.dumps(asdict(state)).encode().ljust(_STATE_BYTES)
        if encoded == self._last_state:
            return
        try:
            if self._state_fd is None:
                flags = os.O_WRONLY | os.O_CREAT
                self._state_fd = os.open(self.folder / "state.json", flags, 0o600)
            os.pwrite(self._state_fd, encoded, 0)
            self._last_state = encoded
        except OSError as error:
            notify_once("state", f"{self.folder}/state.json cannot be written: {error.strerror}.")

    def read(self, start: int, max_bytes: int) -> Iterator[tuple[bytes, int]]:
        """Yield complete lines from `start` on, each with the offset after it."""
        data, offset = self._read_bytes(start, max_bytes)
        begin = 0
        while (line_end := data.find(b"\n", begin)) >= 0:
            yield data[begin:line_end], offset + line_end + 1
            begin = line_end + 1

    def _read_bytes(self, start: int, max_bytes: int) -> tuple[bytes, int]:
        """Read about `max_bytes` and at least a line, from the disk and what is not yet on it.

        Where records were dropped, the next one follows, and half a record before it is skipped.
        """
        data, begin = b"", start
        for offset, end, read in self._sources():
            at = begin + len(data)
            if end <= at:
                continue
            if offset > at:
                if b"\n" in data:
                    break
                data, begin, at = b"", offset, offset
            size = max(max_bytes - len(data), 1 << 16)
            more = read(at - offset, min(size, end - at))
            while b"\n" not in data + more and at + size < end:
                size *= 4
                more = read(at - offset, min(size, end - at))
            data += more
            if len(data) >= max_bytes and b"\n" in data:
                break
        return data, begin

    def _sources(self) -> Sequence[tuple[int, int, Callable[[int, int], bytes]]]:
        """Begin, end and reader of each part of the stream."""
        with self._guard:
            memory = list(self._memory)
            written = self._written
        segments = self._segments()
        return [
            (
                start,
                written if path == segments[-1][1] else start + path.stat().st_size,
                partial(_read_at, path),
            )
            for start, path in segments
        ] + [(offset, offset + len(data), partial(_slice, data)) for offset, data in memory]

    def ends_with_finish(self) -> bool:
        """Whether the last complete record is the end of the run."""
        last = b""
        for line, _ in self.read(max(self._segment_start, self.end - (1 << 16)), 1 << 17):
            last = line or last
        return last.startswith((b'{"record": "finish"', b'{"record":"finish"'))

    def read_output(self, start: int, max_bytes: int) -> bytes:
        if start >= self.output_end:
            return b""
        return _read_at(self.folder / "output.log", start, max_bytes)

    def delete_sent(self, start: int) -> None:
        """Delete the segments that end before `start`."""
        segments = self._segments()
        for (_, path), (next_start, _) in pairwise(segments):
            if next_start <= start:
                path.unlink(missing_ok=True)

    def _segments(self) -> list[tuple[int, Path]]:
        return sorted(
            (int(path.stem.partition("-")[2]), path) for path in self.folder.glob("records-*.jsonl")
        )


def encode_point(point: PointTuple) -> bytes:
    """One line, values last, so that an incomplete line of a killed process is recognized."""
    step, time, epoch, values = point
    encoded = json.dumps(json_values(values), separators=(",", ":"))
    middle = "" if epoch is None else f'"epoch":{epoch},'
    return f'{{"step":{step},"time":{time!r},{middle}"values":{encoded}}}\n'.encode()


def _read_at(path: Path, offset: int, size: int) -> bytes:
    if size <= 0:
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _slice(data: bytes, offset: int, size: int) -> bytes:
    return data[offset : offset + size]
