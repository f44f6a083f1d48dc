"""A training that runs elsewhere: reports go to a spool on disk, and from there to Heimdall."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from heimdall_sdk import recent
from heimdall_sdk.api_client import ApiClient
from heimdall_sdk.errors import notify, notify_once
from heimdall_sdk.recent import RecentPoints
from heimdall_sdk.reporter import PointTuple, Reporter, Status
from heimdall_sdk.sender import Sender
from heimdall_sdk.spool import SendState, Spool, encode_point, spool_directory
from heimdall_sdk.text import clean_text

# What is logged within this time is written at once; the first after a silence does not wait.
WRITE_SECONDS = 0.03
SYNC_SECONDS = 1.0
EXIT_SECONDS = 10.0
MAX_WAITING = 500_000  # points, while the writer waits for the disk

Item = PointTuple | bytes | threading.Event  # bytes: another record


class SpoolReporter(Reporter):
    """Three threads: one writes the spool, one syncs it to the disk, one sends it."""

    def __init__(self, spool: Spool, client: ApiClient | None, capture_output: bool) -> None:
        super().__init__()
        self._spool = spool
        self._recent = RecentPoints.create(spool.client_id)
        self._order = threading.Lock()
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._dropped = 0
        self._artifact_numbers = count(1)
        self._ended = threading.Event()
        self._output: list[bytes] = []
        self._captures: list[_OutputCopy] = []
        self._sender = None if client is None else Sender(spool, client, SendState())
        self.put_point = self._put_point
        self._start_thread(self._write_all, "heimdall-spool")
        self._start_thread(self._sync_all, "heimdall-sync")
        if self._sender is not None:
            self._start_thread(self._sender.run, "heimdall-sender")
        if capture_output:
            self._captures = [
                _OutputCopy(name, self._output.append)
                for name in ("stdout", "stderr")
                if getattr(sys, name) is not None
            ]

    @staticmethod
    def _start_thread(target: Callable[[], None], name: str) -> None:
        threading.Thread(target=target, name=name, daemon=True).start()

    @property
    def stop_requested(self) -> str:  # type: ignore[override]
        return "" if self._sender is None else self._sender.stop_requested

    @property
    def job_id(self) -> str:
        """The job's id at Heimdall; empty until it is registered."""
        return "" if self._sender is None else self._sender.job_id

    def _put_point(self, point: PointTuple) -> None:
        if self._queue.qsize() < MAX_WAITING:
            with self._order:
                if self._recent is not None:
                    self._recent.append(point)
                self._queue.put(point)
        else:
            self._dropped += 1
            notify_once("waiting", f"the spool is not written while {MAX_WAITING} points wait.")

    def note(self, message: str) -> None:
        notify(message)

    def artifact(self, path: Path, name: str) -> None:
        # One step even between threads.
        copy = self._spool.folder / "artifacts" / str(next(self._artifact_numbers))
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
        self._put_record(record="artifact", name=name, file=f"artifacts/{copy.name}")

    def finish(self, status: Status, error_message: str, checkpoint: Path | None) -> None:
        self.end_capture()
        message = clean_text(error_message)
        self._put_record(record="finish", status=status, error_message=message)
        written = threading.Event()
        self._queue.put(written)
        written.wait(EXIT_SECONDS)
        self._ended.set()
        self._spool.sync()
        if self._spool.is_behind:
            notify(
                "the disk is full: points that could not be written "
                "are lost unless they are sent now."
            )
        else:
            self._recent = None
            recent.delete(self._spool.client_id)
        if self._sender is None:
            notify(f"reports of this run are in {self._spool.folder}; `heimdall sync` sends it.")
            self._spool.close()
            return
        self._sender.hurry()
        if not self._sender.is_done.wait(EXIT_SECONDS) or self._sender.problem:
            reason = f" ({self._sender.problem})" if self._sender.problem else ""
            notify(f"not everything could be sent{reason}; `heimdall sync` sends the rest.")
            return
        self._spool.delete()

    def release_locks(self) -> None:
        self._spool.release_lock()

    def end_capture(self) -> None:
        for capture in self._captures:
            capture.remove()

    def _put_record(self, **record: str) -> None:
        self._queue.put(json.dumps(record).encode() + b"\n")

    # Threads

    def _write_all(self) -> None:
        while not self._ended.is_set():
            try:
                item: Item | None = self._queue.get(timeout=SYNC_SECONDS / 2)
            except Empty:
                item = None
            try:
                self._write_waiting(item)
            except Exception as error:
                notify_once("writer", f"the spool failed: {type(error).__name__}: {error}")
            time.sleep(WRITE_SECONDS)

    def _write_waiting(self, item: Item | None) -> None:
        held = self._recent
        # The lock is taken rarely: a thread that is preempted with it would hold up the training.
        if held is not None and held.should_swap:
            with self._order:
                held.swap()
        lines, written = self._take_waiting(item)
        if self._output:
            size = len(self._output)  # the script may print during the write
            self._spool.append_output(b"".join(self._output[:size]))
            del self._output[:size]
        if lines:
            self._spool.append(b"".join(lines))
        else:
            self._spool.retry()
        if held is not None and not self._spool.is_behind:
            held.release()
        if (lines or written) and self._sender is not None:
            self._sender.notify()
        for event in written:
            event.set()

    def _take_waiting(self, item: Item | None) -> tuple[list[bytes], list[threading.Event]]:
        """The lines that wait to be written, and what waits for that."""
        lines: list[bytes] = []
        written: list[threading.Event] = []
        while item is not None:
            if isinstance(item, tuple):
                lines.append(encode_point(item))
            elif isinstance(item, bytes):
                lines.append(item)
            else:
                written.append(item)
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
        return lines, written

    def _sync_all(self) -> None:
        synced = (0, 0)
        while not self._ended.wait(SYNC_SECONDS):
            end = (self._spool.end, self._spool.output_end)
            if end != synced:
                synced = end
                self._spool.sync()


class _OutputCopy:
    """Stands in for `sys.stdout` or `sys.stderr`: writes there first, and keeps a copy."""

    def __init__(self, name: str, keep: Callable[[bytes], None]) -> None:
        self._name = name
        self._stream: TextIO = getattr(sys, name)
        self._keep = keep
        self._pid = os.getpid()
        setattr(sys, name, self)

    def write(self, text: str) -> int:
        size = self._stream.write(text)
        if os.getpid() == self._pid:
            self._keep(text.encode(errors="replace"))
        return size

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def remove(self) -> None:
        """Put the original back, unless another stand-in has replaced this one."""
        self._keep = _ignore
        if getattr(sys, self._name) is self:
            setattr(sys, self._name, self._stream)


def _ignore(_text: bytes) -> None:
    return


def new_spool(registration: dict[str, Any]) -> Spool:
    """Create the spool of a new run; raises OSError."""
    spool = Spool(spool_directory() / uuid.uuid4().hex)
    spool.create(registration)
    return spool
