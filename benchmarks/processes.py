"""Start-up time and memory of each process: python -m benchmarks.processes.

Memory is the proportional set size (PSS), which divides shared pages among the processes that share
them. A web process is ready when it serves `/healthz`, a worker when it takes jobs, and `demo` when
it prints its address. The demo's second start is measured, because the first one migrates.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx

from benchmarks.harness import heimdall, row
from tests.broker import free_port
from tests.stack import Stack

GOAL_SECONDS, GOAL_MB = 3.0, 150


def memory_mb(pid: int) -> float:
    """PSS of the process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return pss / 1024 + sum(memory_mb(int(child)) for child in children)


def web(stack: Stack) -> tuple[float, float]:
    started = time.monotonic()
    process = stack.start_web()
    assert httpx.get(f"{stack.url}/healthz").status_code == 200
    seconds = time.monotonic() - started
    with stack.api() as api:  # load what the first visitor loads
        for path in ("/jobs", "/datasets", "/models"):
            assert api.get(path).status_code == 200
    return seconds, _measure_and_stop(process)


def worker(stack: Stack) -> tuple[float, float]:
    started = time.monotonic()
    process = stack.start_worker()
    return time.monotonic() - started, _measure_and_stop(process)


def _measure_and_stop(process: subprocess.Popen[bytes]) -> float:
    memory = memory_mb(process.pid)
    process.terminate()
    process.wait(20)
    return memory


def demo(folder: str) -> tuple[float, float]:
    """Seconds until the address is printed, and memory then; one process with web and worker."""
    environment = {**os.environ, "HEIMDALL_DATA_DIR": folder, "HEIMDALL_NO_VENV": "1",
                   "RABBITMQ_URL": "", "PYTHONUNBUFFERED": "1"}  # fmt: skip
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "manage.py", "demo", "--port", str(free_port()), "--epochs", "2"]
    started = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "http://" in line:
                break
        seconds, memory = time.monotonic() - started, memory_mb(process.pid)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    return seconds, memory


def print_median(name: str, runs: int, measure: Callable[[], tuple[float, float]]) -> None:
    results = [measure() for _ in range(runs)]
    seconds, memory = (median(column) for column in zip(*results, strict=True))
    row(name, f"{seconds:.2f}", f"{GOAL_SECONDS:g}", f"{memory:.0f}", GOAL_MB)


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="once each")
    runs = 1 if parser.parse_args(arguments or None).short else 3
    row(f"median of {runs}", "ready after s", "goal", "MB (PSS)", "goal")
    with heimdall(start=False) as stack:
        print_median("web", runs, lambda: web(stack))
        stack.start_web()
        print_median("worker with children", runs, lambda: worker(stack))
    with tempfile.TemporaryDirectory() as folder:
        demo(folder)
        print_median("demo, second start", runs, lambda: demo(folder))


if __name__ == "__main__":
    main()
