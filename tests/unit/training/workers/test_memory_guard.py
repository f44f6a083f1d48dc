"""Trainings over the memory limit of a job."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.polling import eventually
from training.workers.memory_guard import OOM_SCORE, MemoryGuard, job_limit

MB = 10**6
# Fills memory in steps, then waits.
FILL = """
import os, sys, time
filled = []
def fill(mb):
    for _ in range(mb):
        filled.append(bytearray(os.urandom(1)) * 1_000_000)
"""
WAIT = "print('filled', flush=True); time.sleep(60)"


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", FILL + code], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def enforce_until_killed(process: subprocess.Popen[bytes], guard: MemoryGuard) -> None:
    def killed() -> bool:
        guard.enforce()
        return process.poll() is not None

    eventually(killed, 30)


def test_job_memory_limit_is_a_size_or_a_percentage_of_the_workers_memory() -> None:
    assert job_limit("80%", 1000) == 800
    assert job_limit("500", 1000) == 500


def test_process_over_the_memory_limit_is_killed_and_its_use_reported() -> None:
    with running(f"fill(300); {WAIT}") as process:
        guard = MemoryGuard(process.pid, 150 * MB)
        enforce_until_killed(process, guard)
        assert process.returncode == -9
        assert 150 * MB < guard.exceeded_by < 400 * MB


def test_processes_count_together() -> None:
    with running(f"os.fork(); fill(100); {WAIT}") as process:
        guard = MemoryGuard(process.pid, 150 * MB)
        enforce_until_killed(process, guard)
        assert guard.exceeded_by > 150 * MB


def test_pages_that_a_fork_shares_count_once() -> None:
    with running(f"fill(100); os.fork(); os.fork(); {WAIT}") as process:
        assert process.stdout
        for _ in range(4):
            process.stdout.readline()
        guard = MemoryGuard(process.pid, 200 * MB)
        guard.enforce()
        assert (guard.exceeded_by, process.poll()) == (0, None)
        guard.limit = 50 * MB
        enforce_until_killed(process, guard)


def test_training_below_the_limit_continues() -> None:
    with running(f"fill(20); {WAIT}") as process:
        guard = MemoryGuard(process.pid, 500 * MB)
        for _ in range(20):
            guard.enforce()
            time.sleep(0.01)
        assert (guard.exceeded_by, process.poll()) == (0, None)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_kernel_kills_a_training_before_other_processes() -> None:
    with running(WAIT) as process:
        MemoryGuard(process.pid, 500 * MB)
        score = Path(f"/proc/{process.pid}/oom_score_adj").read_text("ascii")
        assert int(score) == OOM_SCORE
