"""Has each epoch's checkpoint written, and told of, while the next epoch is trained."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson
import torch

from training.engine.files import CheckpointError
from training.engine.snapshot import Numbers, about
from training.engine.state import TrainState


class Recorder:
    """The checkpoint first, then the word: an epoch is told once it is safely on disk.

    One epoch is under way at most; the next one waits for it. So a kill costs no more than where
    training itself waits for the disk. What goes wrong meanwhile (a full disk) is raised by the
    next call. Leaving the context waits for what is under way. See `scribe`, which does the work.
    """

    def __init__(self, folder: Path, out: int = 1) -> None:
        """Checkpoints go to `folder`, lines to the file handle `out`."""
        self._folder, self._out = folder, out
        self._under_way = False
        self._memory, self._remembered = _Memory(), -1
        self._scribe: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._memory.close()
            if self._scribe is not None:
                self._end(self._scribe)

    def keep(self, state: TrainState, is_best: bool, line: bytes) -> None:
        """Take the state as it is now; the rest happens while training goes on."""
        self.finish()  # what is under way still reads the memory
        if len(state.optimizer.state) != self._remembered:
            self._numbers, self._remembered = Numbers.of(state), len(state.optimizer.state)
        self._memory.hold(self._numbers)
        order = {
            "folder": str(self._folder),
            "about": about(state, self._numbers.kinds),
            "size": self._numbers.size,
            "is_best": is_best,
            "line": line.decode(),
        }
        scribe = self._scribe or self._start()
        assert scribe.stdin is not None
        self._under_way = True
        # Where it is gone, that is heard when its reply is awaited.
        with contextlib.suppress(BrokenPipeError):
            scribe.stdin.write(orjson.dumps(order, option=orjson.OPT_APPEND_NEWLINE))
            scribe.stdin.flush()

    def is_idle(self) -> bool:
        """Whether all epochs so far have been told; raises what went wrong."""
        if self._under_way and select.select([self._replies], [], [], 0)[0]:
            self.finish()
        return not self._under_way

    def finish(self) -> None:
        """Wait until all epochs have been told; raises what went wrong."""
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

    def _end(self, scribe: subprocess.Popen[bytes]) -> None:
        assert scribe.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            scribe.stdin.close()
        scribe.wait()
        os.close(self._replies)

    def _start(self) -> subprocess.Popen[bytes]:
        self._replies, replying = os.pipe()
        shared = self._memory.handle
        self._scribe = subprocess.Popen(
            [sys.executable, "-m", "training.engine.scribe", str(shared), str(replying)],
            stdin=subprocess.PIPE,
            stdout=self._out,
            pass_fds=(shared, replying),
        )
        os.close(replying)
        return self._scribe


class _Memory:
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

    def hold(self, numbers: Numbers) -> None:
        """Copy them as they are now."""
        if self._floats.nbytes != numbers.size:
            self._file.truncate(numbers.size)
            memory = mmap.mmap(self.handle, numbers.size)
            self._floats = torch.frombuffer(memory, dtype=torch.float32)
        if numbers.rows[0].is_cpu:
            torch.cat(numbers.rows, out=self._floats)
        else:
            self._floats.copy_(torch.cat(numbers.rows))

    def close(self) -> None:
        self._file.close()
