"""Resource metrics of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.polling import eventually
from training.workers.memory_limit import MemoryLimit
from training.workers.system_sampler import SystemSampler

MB = 1_000_000
BUSY_CHILD = """
import os, subprocess, sys
held = bytearray(os.urandom(1)) * 60_000_000
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print("ready", flush=True)
sys.stdin.read()
child.kill()
"""


@contextmanager
def started(program: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.communicate(b"")


def sampler(pid: int) -> SystemSampler:
    return SystemSampler(pid, MemoryLimit(pid))


def test_process_and_its_children_count_together() -> None:
    with started(BUSY_CHILD) as process:
        found = sampler(process.pid)
        figures = eventually(lambda: _if(found.sample(), "cpu_percent", 10))
    assert figures["processes"] == 2
    assert 60 * MB < figures["memory_pss"] < figures["memory_rss"] < figures["memory_limit"]


def _if(figures: dict[str, float], name: str, least: float) -> dict[str, float] | None:
    return figures if figures[name] > least else None


def test_rates_are_those_since_the_last_sample() -> None:
    waits = 'print("ready", flush=True); import sys; sum(range(10**7)); sys.stdin.read()'
    with started(waits) as process:
        found = sampler(process.pid)
        eventually(lambda: _if(found.sample(), "cpu_percent", -1))
        eventually(lambda: found.sample()["cpu_percent"] == 0)


def test_process_that_has_exited_has_no_figures() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert sampler(process.pid).sample() == {}


def test_written_bytes_count_as_disk_writes(tmp_path: object) -> None:
    program = (
        "import os, sys; print(flush=True); "
        f"f = open({str(tmp_path)!r} + '/out', 'wb'); f.write(bytes(20_000_000)); f.flush(); "
        "os.fsync(f.fileno()); sys.stdin.read()"
    )
    with started(program) as process:
        found = sampler(process.pid)
        total = 0.0

        def written() -> bool:
            nonlocal total
            total += found.sample()["disk_write"]
            return total > 0

        eventually(written)
    assert os.path.getsize(f"{tmp_path}/out") == 20_000_000  # noqa: PTH202
