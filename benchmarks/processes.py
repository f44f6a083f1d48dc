"""How soon each process is ready, and its memory then: python -m benchmarks.processes.

Memory is the proportional set size: shared pages count once among those that share them. Ready:
the web process serves `/healthz`; the worker says that it takes jobs; `demo` prints its address.
The demo's second start is what counts: the first one installs.
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
    """Of the process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return pss / 1024 + sum(memory_mb(int(child)) for child in children)


def web(stack: Stack) -> tuple[float, float]:
    began = time.monotonic()
    process = stack.start_web()
    assert httpx.get(f"{stack.url}/healthz").status_code == 200
    took = time.monotonic() - began
    with stack.api() as api:  # what a first visitor loads is held from then on
        for path in ("/jobs", "/datasets", "/models"):
            assert api.get(path).status_code == 200
    return took, _then_end(process)


def worker(stack: Stack) -> tuple[float, float]:
    began = time.monotonic()
    process = stack.start_worker()
    return time.monotonic() - began, _then_end(process)


def _then_end(process: subprocess.Popen[bytes]) -> float:
    held = memory_mb(process.pid)
    process.terminate()
    process.wait(20)
    return held


def demo(folder: str) -> tuple[float, float]:
    """Until the address is printed, and what it holds then; one process does it all."""
    environment = {**os.environ, "HEIMDALL_DATA_DIR": folder, "HEIMDALL_NO_VENV": "1",
                   "RABBITMQ_URL": "", "PYTHONUNBUFFERED": "1"}  # fmt: skip
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "manage.py", "demo", "--port", str(free_port()), "--epochs", "2"]
    began = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "http://" in line:
                break
        took, held = time.monotonic() - began, memory_mb(process.pid)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    return took, held


def told(name: str, runs: int, one: Callable[[], tuple[float, float]]) -> None:
    found = [one() for _ in range(runs)]
    seconds, held = (median(column) for column in zip(*found, strict=True))
    row(name, f"{seconds:.2f}", f"{GOAL_SECONDS:g}", f"{held:.0f}", GOAL_MB)


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="once each")
    runs = 1 if parser.parse_args(arguments or None).short else 3
    row(f"median of {runs}", "ready after s", "goal", "MB (PSS)", "goal")
    with heimdall(start=False) as stack:
        told("web", runs, lambda: web(stack))
        stack.start_web()
        told("worker, all of it", runs, lambda: worker(stack))
    with tempfile.TemporaryDirectory() as folder:
        demo(folder)
        told("demo, second start", runs, lambda: demo(folder))


if __name__ == "__main__":
    main()
