"""A flag that a process shares with its forks."""

from __future__ import annotations

import mmap


class SharedFlag:
    """Like `multiprocessing.Event` without its lock.

    Reading an Event takes the lock. If a process is killed in that moment, the lock is never
    released, and every other process of the worker blocks at its next look at the flag.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)  # shared with forks; zero at first

    def set(self) -> None:
        self._memory[0] = 1

    def clear(self) -> None:
        self._memory[0] = 0

    def is_set(self) -> bool:
        return self._memory[0] != 0
