"""A training that Heimdall started: messages to the supervisor over a pipe, commands from stdin."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import stat
import sys
import threading
import time
import uuid
from pathlib import Path
from queue import Empty, SimpleQueue

from heimdall_sdk import messages
from heimdall_sdk.errors import notify
from heimdall_sdk.reporter import PointTuple, Reporter, Status, json_point

# At most 50 messages with points per second; the first after a pause is sent immediately.
BATCH_SECONDS = 0.02
BATCH_POINTS = 2_000
# While the supervisor does not read (its database is down), points wait in memory.
MAX_WAITING = 500_000
FLUSH_SECONDS = 30.0
SUPERVISOR_GONE = 3  # exit status
_PR_SET_PDEATHSIG = 1

Item = PointTuple | messages.Strict | threading.Event


def read_spec(path: Path) -> messages.TrainSpec:
    """Read the run spec; fields that this version does not know are left out."""
    values = json.loads(path.read_bytes())
    known = {field.name for field in dataclasses.fields(messages.TrainSpec)}
    spec = {name: value for name, value in values.items() if name in known}
    objective = spec.get("objective")
    if objective is not None:
        spec["objective"] = messages.Objective(
            metric=objective["metric"], direction=objective.get("direction", "minimize")
        )
    return messages.TrainSpec(**spec)


def open_messages_fd(value: str) -> int:
    """Open the supervisor's pipe.

    torchrun, multiprocessing and other launchers close inherited descriptors, so their children
    reopen that of their parent.
    """
    fd = int(value)
    is_launched = (
        "TORCHELASTIC_RUN_ID" in os.environ or multiprocessing.parent_process() is not None
    )
    with contextlib.suppress(OSError):
        if not is_launched and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.set_inheritable(fd, False)
            return fd
    path = Path(f"/proc/{os.getppid()}/fd/{fd}")
    if not path.is_fifo():
        raise OSError(f"file descriptor {fd} is not a pipe")
    return os.open(path, os.O_WRONLY)


def take_stdin() -> int | None:
    """Return a descriptor for commands, None without a supervisor at the other end.

    The script itself then reads end of file. multiprocessing gives its children another stdin, so
    they open that of their parent.
    """
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        commands = os.dup(0)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        return commands
    if multiprocessing.parent_process() is not None:
        path = Path(f"/proc/{os.getppid()}/fd/0")
        if path.is_fifo():
            return os.open(path, os.O_RDONLY)
    return None


def die_with_parent() -> None:
    """Let the kernel kill this process with its parent, in any state (Linux)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(SUPERVISOR_GONE)


class ManagedReporter(Reporter):
    """Sends messages from a separate thread, in the order in which they were put."""

    def __init__(self, fd: int, commands_fd: int | None, run_dir: Path) -> None:
        super().__init__()
        self._fd = fd
        self._run_dir = run_dir
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._dropped = 0
        self.put_point = self._put_point
        threading.Thread(target=self._send_all, name="heimdall-messages", daemon=True).start()
        if commands_fd is not None:
            threading.Thread(
                target=self._read_commands,
                args=(commands_fd,),
                name="heimdall-commands",
                daemon=True,
            ).start()

    def _put_point(self, point: PointTuple) -> None:
        if self._queue.qsize() < MAX_WAITING:
            self._queue.put(point)
        else:
            self._dropped += 1

    def started(self, total_epochs: int | None, resumed_from_epoch: int | None) -> None:
        self._queue.put(
            messages.Started(total_epochs=total_epochs, resumed_from_epoch=resumed_from_epoch)
        )

    def note(self, message: str) -> None:
        self._queue.put(messages.Note(message=message))

    def checkpointed(self, epoch: int, path: Path) -> None:
        self._queue.put(messages.Checkpointed(epoch=epoch, path=str(path)))

    def paused(self) -> None:
        self._queue.put(messages.Paused())
        self._flush()

    def artifact(self, path: Path, name: str) -> None:
        target = self._run_dir / "artifacts" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name[:50]}.{uuid.uuid4().hex}.part")
        try:
            shutil.copyfile(path, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def finish(self, status: Status, error_message: str, checkpoint: Path | None) -> None:
        if status == "completed":
            path = "" if checkpoint is None else str(checkpoint)
            self._queue.put(messages.TrainingCompleted(checkpoint_path=path))
        else:
            message = error_message or f"The script ended the run as {status}."
            self._queue.put(messages.Failed(error_message=f"{message.rstrip('.')}."))
        self._flush()

    def abandon(self) -> None:
        self._flush()

    def _flush(self) -> None:
        sent = threading.Event()
        self._queue.put(sent)
        if not sent.wait(FLUSH_SECONDS):
            notify(f"the supervisor has read nothing for {FLUSH_SECONDS:.0f} s")

    def _send_all(self) -> None:
        while True:
            sent_points = self._send_waiting(self._queue.get())
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self._write(
                    messages.Note(
                        message=f"{dropped} points were dropped: the supervisor did not read them "
                        f"while {MAX_WAITING} others waited."
                    )
                )
            if sent_points:
                time.sleep(BATCH_SECONDS)

    def _send_waiting(self, item: Item) -> bool:
        """Send the item and all other pending ones; return whether there were points."""
        points: list[dict[str, object]] = []
        sent_points = False
        while True:
            if isinstance(item, tuple):
                points.append(json_point(item))
                sent_points = True
            if points and (len(points) == BATCH_POINTS or not isinstance(item, tuple)):
                self._write_line({"type": "points", "points": points})
                points = []
            if isinstance(item, threading.Event):
                item.set()
            elif not isinstance(item, tuple):
                self._write(item)
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
        if points:
            self._write_line({"type": "points", "points": points})
        return sent_points

    def _write(self, message: messages.Strict) -> None:
        self._write_line(dataclasses.asdict(message))  # type: ignore[call-overload]

    def _write_line(self, message: object) -> None:
        line = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except BrokenPipeError:
            os._exit(SUPERVISOR_GONE)

    def _read_commands(self, fd: int) -> None:
        waiting = b""
        with contextlib.suppress(OSError):
            while chunk := os.read(fd, 4096):
                *lines, waiting = (waiting + chunk).split(b"\n")
                for line in lines:
                    if line.strip() == messages.PAUSE.encode():
                        self.stop_requested = messages.PAUSE
        os._exit(SUPERVISOR_GONE)
