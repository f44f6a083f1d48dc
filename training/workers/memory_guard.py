"""Ends a training that uses more memory than a job may, before the machine has none left.

Otherwise the kernel kills a process, possibly the database on the same machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import psutil

# The kernel kills the process with the highest score first (0 is usual, 1000 the highest).
OOM_SCORE = 500
TREE_SECONDS = 1.0
PRIVATE = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)
PROPORTIONAL = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)


def job_limit(setting: str, available: int) -> int:
    """`setting` is a number of bytes, or a percentage of what is available to the worker."""
    if setting.endswith("%"):
        return available * int(setting[:-1]) // 100
    return int(setting)


class MemoryGuard:
    """Watches a process group and all descendants of its leader."""

    def __init__(self, pid: int, limit: int, proc: Path = Path("/proc")) -> None:
        self._pid, self.limit, self._proc = pid, limit, proc
        self._pids: list[int] = [pid]
        self._next_tree = self._next_exact = 0.0
        self.exceeded_by = 0  # bytes that were in use when the training was ended
        with contextlib.suppress(OSError):
            (proc / str(pid) / "oom_score_adj").write_text(str(OOM_SCORE), "ascii")

    def enforce(self) -> None:
        """Kill the processes if they use too much; cheap enough for ten times a second."""
        now = time.monotonic()
        if self.exceeded_by:
            return
        if now >= self._next_tree:
            self._next_tree = now + TREE_SECONDS
            self._pids = _tree(self._pid)
        used = self._sum("status", PRIVATE)
        if used > self.limit and len(self._pids) > 1:
            # Pages that a fork shares are counted twice; the exact figure takes longer to read.
            if now < self._next_exact:
                return
            used = self._sum("smaps_rollup", PROPORTIONAL) or used
            self._next_exact = now + 10 * (time.monotonic() - now)
        if used > self.limit:
            self.exceeded_by = used
            self._kill()

    def _sum(self, file: str, pattern: re.Pattern[str]) -> int:
        total = 0
        for pid in self._pids:
            with contextlib.suppress(OSError):
                text = (self._proc / str(pid) / file).read_text("ascii", "replace")
                total += 1024 * sum(map(int, pattern.findall(text)))
        return total

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _tree(pid: int) -> list[int]:
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(pid).children(recursive=True)
        return [pid, *(child.pid for child in children)]
    return [pid]
