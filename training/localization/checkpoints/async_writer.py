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
from typing import IO, Self

import orjson
import torch

from heimdall_sdk.checkpoint_names import BESTS, EPOCHS
from training.localization.checkpoints.checkpoint_format import SharedCheckpoint, WriteOrder
from training.localization.checkpoints.state_vector import ParameterViews, describe
from training.localization.fit.state import TrainState
from training.programs.checkpoint_files import CheckpointError
from training.programs.messages import EpochEnded, read_lines

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
    waits until all epochs have been reported. `writer_process` does the work.
    """

    def __init__(self, folder: Path, messages_fd: int, pace: float = PACE_SECONDS) -> None:
        self._folder, self._messages_fd, self._pace = folder, messages_fd, pace
        self._due, self._writing = 0.0, False
        self._memory, self._optimizer_entries = _SharedMemory(), -1
        self._messages: list[EpochEnded] = []
        self._copies: dict[str, SharedCheckpoint] = {}
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
        if len(state.optimizer.state) != self._optimizer_entries:
            self._parameters = ParameterViews.of(state)
            self._optimizer_entries = len(state.optimizer.state)
        self._copies[EPOCHS] = {
            "metadata": describe(state, self._parameters.kinds),
            "size": self._parameters.size,
            # The best has its own half, which later epochs do not overwrite before it is written.
            "offset": self._memory.copy(self._parameters, half=int(is_best)),
        }
        if is_best:
            self._copies[BESTS] = self._copies[EPOCHS]
        self._messages.append(message)
        self._write_when_due()

    def is_idle(self) -> bool:
        """Whether all epochs so far have been reported; raises an error of the writer."""
        if self._writing and select.select([self._replies], [], [], 0)[0]:
            self._await()
        if not self._writing:
            self._write_when_due()
        return not (self._writing or self._messages)

    def finish(self) -> None:
        self._await()
        self._due = 0.0
        self._write_when_due()
        self._await()

    def _write_when_due(self) -> None:
        if not self._messages or (now := time.monotonic()) < self._due:
            return
        order: WriteOrder[EpochEnded] = {
            "folder": str(self._folder),
            # The best first: after an interruption, each checkpoint still has its best.
            "checkpoints": [
                (kind, self._copies[kind]) for kind in (BESTS, EPOCHS) if kind in self._copies
            ],
            "messages": self._messages,
        }
        self._due, self._copies, self._messages = now + self._pace, {}, []
        writer_process = self._writer_process or self._start()
        assert writer_process.stdin is not None
        self._writing = True
        # If the process has ended, `_await` reports it.
        with contextlib.suppress(BrokenPipeError):
            writer_process.stdin.write(orjson.dumps(order, option=_OPTIONS))
            writer_process.stdin.flush()

    def _await(self) -> None:
        if not self._writing:
            return
        reply = next(read_lines(self._replies, timeout=None), None)
        self._writing = False
        if reply is None:
            raise RuntimeError("The process that writes the checkpoints ended.")
        if error := b"\n".join(reply).decode():
            raise CheckpointError(error)

    def _end(self, writer_process: subprocess.Popen[bytes]) -> None:
        assert writer_process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            writer_process.stdin.close()
        writer_process.wait()
        os.close(self._replies)

    def _start(self) -> subprocess.Popen[bytes]:
        self._replies, replies_fd = os.pipe()
        memory_fd = self._memory.fd
        self._writer_process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "training.localization.checkpoints.writer_process",
                str(memory_fd),
                str(self._messages_fd),
                str(replies_fd),
            ],
            stdin=subprocess.PIPE,
            stdout=2,  # its output belongs to the log
            pass_fds=(memory_fd, self._messages_fd, replies_fd),
        )
        os.close(replies_fd)
        return self._writer_process


class _SharedMemory:
    """Two halves of floats, which the writer process reads."""

    def __init__(self) -> None:
        # Anonymous memory where the system has it: no disk, and nothing to clean up.
        self._file: IO[bytes] = (
            os.fdopen(os.memfd_create("checkpoint"), "w+b")
            if hasattr(os, "memfd_create")
            else tempfile.TemporaryFile()  # noqa: SIM115
        )
        self._floats = torch.empty(0)

    @property
    def fd(self) -> int:
        return self._file.fileno()

    def copy(self, parameters: ParameterViews, half: int) -> int:
        """Copy the parameters into one half; return its offset in bytes."""
        if self._floats.nbytes != 2 * parameters.size:
            self._file.truncate(2 * parameters.size)
            memory = mmap.mmap(self.fd, 2 * parameters.size)
            self._floats = torch.frombuffer(memory, dtype=torch.float32).view(2, -1)
        if parameters.views[0].is_cpu:
            torch.cat(parameters.views, out=self._floats[half])
        else:
            self._floats[half].copy_(torch.cat(parameters.views))
        return half * parameters.size

    def close(self) -> None:
        self._file.close()
