"""A flag that a process shares with its forks."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from training.workers.shared_flag import SharedFlag

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


def fork(run: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(0)
    return child


def test_fork_sees_that_the_flag_is_set_and_cleared() -> None:
    flag = SharedFlag()
    assert not flag.is_set()
    os.waitpid(fork(flag.set), 0)
    assert flag.is_set()
    os.waitpid(fork(flag.clear), 0)
    assert not flag.is_set()


@pytest.mark.timeout(30)
def test_killed_process_does_not_block_the_others() -> None:
    """A process that was killed while it read a multiprocessing.Event kept its lock for good."""
    flag = SharedFlag()

    def read_until_killed() -> None:
        while True:
            flag.is_set()

    for _ in range(50):
        child = fork(read_until_killed)
        time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not flag.is_set()
    flag.set()
    assert flag.is_set()
