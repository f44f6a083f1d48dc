"""Write the checkpoint of each epoch, and report the epoch, while the next one trains."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson
import torch

from training.localization.checkpoints.state_vector import ParameterViews, describe
from training.localization.fit.state import TrainState
from training.programs.checkpoint_files import BESTS, EPOCHS, CheckpointError
from training.programs.messages import EpochEnded

# Epochs that end within this time are written and reported together. One by one, epochs of 15 ms
# take a tenth longer; together 1 to 4 %. No page redraws more often.
PACE_SECONDS = 0.1
# JSON has no NaN and no infinity: orjson writes null.
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


class AsyncCheckpointWriter:
    """Reports an epoch only after its checkpoint is safely on disk.

    Epochs that are shorter than `pace` seconds are written and reported together, with one
    checkpoint of the last of them. At most one write is in progress; the next one waits for it, so
    a kill loses hardly more than if training itself waited for the disk. An error of the writer
    (such as a full disk) is raised by the next call. Leaving the context, also after an error,
    waits until everything kept has been reported. `writer_process` does the work.
    """

    def __init__(self, folder: Path, messages_fd: int, pace: float = PACE_SECONDS) -> None:
        """Write checkpoints to `folder` and messages to the file descriptor `messages_fd`."""
        self._folder, self._messages_fd, self._pace = folder, messages_fd, pace
        self._due, self._under_way = 0.0, False
        self._memory, self._remembered = _SharedMemory(), -1
        self._messages: list[EpochEnded] = []
        self._held: dict[str, dict[str, Any]] = {}
        self._writer_process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            # After an error of the training, report that one, not a second one of the writer.
            with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
                self.finish()
        finally:
            self._memory.close()
            if self._writer_process is not None:
                self._end(self._writer_process)

    def keep(self, state: TrainState, is_best: bool, message: EpochEnded) -> None:
        """Copy the present state; it is written while training continues.

        `message` is sent once the checkpoint is on disk, with the path filled in if the checkpoint
        is this epoch's own.
        """
        self._await()  # the write in progress still reads the shared memory
        if len(state.optimizer.state) != self._remembered:
            self._numbers, self._remembered = ParameterViews.of(state), len(state.optimizer.state)
        self._held[EPOCHS] = {
            "about": describe(state, self._numbers.kinds),
            "size": self._numbers.size,
            # The best has its own half, which later epochs do not overwrite before it is written.
            "at": self._memory.hold(self._numbers, half=int(is_best)),
        }
        if is_best:
            self._held[BESTS] = self._held[EPOCHS]
        self._messages.append(message)
        self._write_when_due()

    def is_idle(self) -> bool:
        """Whether all epochs so far have been reported; raises an error of the writer."""
        if self._under_way and select.select([self._replies], [], [], 0)[0]:
            self._await()
        if not self._under_way:
            self._write_when_due()
        return not (self._under_way or self._messages)

    def finish(self) -> None:
        """Wait until all epochs have been reported; raises an error of the writer."""
        self._await()
        self._due = 0.0
        self._write_when_due()
        self._await()

    def _write_when_due(self) -> None:
        if not self._messages or (now := time.monotonic()) < self._due:
            return
        order = {
            "folder": str(self._folder),
            # The best first: after an interruption, each checkpoint still has its best.
            "held": [(kind, self._held[kind]) for kind in (BESTS, EPOCHS) if kind in self._held],
            "messages": self._messages,
        }
        self._due, self._held, self._messages = now + self._pace, {}, []
        writer_process = self._writer_process or self._start()
        assert writer_process.stdin is not None
        self._under_way = True
        # Where it is gone, that is heard when its reply is awaited.
        with contextlib.suppress(BrokenPipeError):
            writer_process.stdin.write(orjson.dumps(order, option=_OPTIONS))
            writer_process.stdin.flush()

    def _await(self) -> None:
        if not self._under_way:
            return
        reply = b""
        while not reply.endswith(b"\n"):
            more = os.read(self._replies, 1 << 16)
            if not more:
                raise RuntimeError("The process that writes the checkpoints ended.")
            reply += more
        self._under_way = False
        if wrong := reply.decode().strip():
            raise CheckpointError(wrong)

    def _end(self, writer_process: subprocess.Popen[bytes]) -> None:
        assert writer_process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            writer_process.stdin.close()
        writer_process.wait()
        os.close(self._replies)

    def _start(self) -> subprocess.Popen[bytes]:
        self._replies, replying = os.pipe()
        shared = self._memory.handle
        self._writer_process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "training.localization.checkpoints.writer_process",
                str(shared),
                str(self._messages_fd),
                str(replying),
            ],
            stdin=subprocess.PIPE,
            stdout=2,  # what it prints is log
            pass_fds=(shared, self._messages_fd, replying),
        )
        os.close(replying)
        return self._writer_process


class _SharedMemory:
    """Floats that another process can read without anything being sent."""

    def __init__(self) -> None:
        # Memory without a name where there is such a thing: no disk, and nothing to clean up.
        self._file: IO[bytes] = (
            os.fdopen(os.memfd_create("checkpoint"), "w+b")
            if hasattr(os, "memfd_create")
            else tempfile.TemporaryFile()  # noqa: SIM115
        )
        self._floats = torch.empty(0)

    @property
    def handle(self) -> int:
        return self._file.fileno()

    def hold(self, numbers: ParameterViews, half: int) -> int:
        """Copy them as they are now into one half of it; at which byte they lie."""
        if self._floats.nbytes != 2 * numbers.size:
            self._file.truncate(2 * numbers.size)
            memory = mmap.mmap(self.handle, 2 * numbers.size)
            self._floats = torch.frombuffer(memory, dtype=torch.float32).view(2, -1)
        if numbers.rows[0].is_cpu:
            torch.cat(numbers.rows, out=self._floats[half])
        else:
            self._floats[half].copy_(torch.cat(numbers.rows))
        return half * numbers.size

    def close(self) -> None:
        self._file.close()
