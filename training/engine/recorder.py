"""Has each epoch's checkpoint written, and told of, while the next epoch is trained."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from training.engine.checkpoint import packed
from training.engine.files import CheckpointError
from training.engine.state import TrainState

_ROOM = 1 << 20  # bytes in the pipe, as many as Linux allows everyone


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
        self._scribe: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._scribe is None:
            return
        assert self._scribe.stdin is not None
        try:
            if kind is None:
                self.finish()
        finally:
            with contextlib.suppress(BrokenPipeError):
                self._scribe.stdin.close()
            self._scribe.wait()
            os.close(self._replies)

    def keep(self, state: TrainState, is_best: bool, line: bytes) -> None:
        """Take the state as it is now; the rest happens while training goes on."""
        content = packed(state)
        self.finish()
        head = {
            "folder": str(self._folder),
            "epoch": state.epoch,
            "size": len(content),
            "is_best": is_best,
            "line": line.decode(),
        }
        scribe = self._scribe or self._start()
        assert scribe.stdin is not None
        self._under_way = True
        # Where it is gone, that is heard when its reply is awaited.
        with contextlib.suppress(BrokenPipeError):
            scribe.stdin.write(orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE))
            scribe.stdin.write(content)
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

    def _start(self) -> subprocess.Popen[bytes]:
        self._replies, replying = os.pipe()
        self._scribe = subprocess.Popen(
            [sys.executable, "-m", "training.engine.scribe", str(replying)],
            stdin=subprocess.PIPE,
            stdout=self._out,
            pass_fds=(replying,),
        )
        os.close(replying)
        assert self._scribe.stdin is not None
        # So that a checkpoint is handed over without waiting until it is read.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._scribe.stdin, fcntl.F_SETPIPE_SZ, _ROOM)
        return self._scribe
