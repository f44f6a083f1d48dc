"""From the publisher to a thousand sockets on one daphne: latency beside a raw AMQP consumer, and
frames a second beside the stock channel layer, in the same run.

python -m benchmarks.events [--short]. Publisher, broker, server, raw consumer and the sockets'
other ends share this machine, and so each other's time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import heimdall, row
from tests.broker import free_port, listens
from tests.polling import eventually
from tests.stack import Stack

RATE = 200  # events a second of all jobs
GOAL_RATIO, GOAL_TIMES = 1.5, 10


class Side:
    """A program beside the server that says `open`, and at last one line of JSON."""

    def __init__(self, stack: Stack, *command: str, told: Any = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command], env=stack.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        self._out = self._process.stdout
        assert self._out.readline() == "open\n", f"{command[0]} did not open"

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._out.read() or "null")
        assert self._process.wait() == 0 and found, "it ended early"
        return found


def crowd(stack: Stack, port: int, jobs: list[str], each: int, frames: int) -> Side:
    paths = [f"/ws/training/{job}" for job in jobs for _ in range(each)]
    # The first event is followed from: `connected` alone comes before what is measured.
    paths = [f"{path}?after=1" for path in paths]
    told = {"port": port, "token": stack.tokens["ada"], "paths": paths, "frames": frames}
    return Side(stack, "benchmarks.websocket_load", told=told)


def publish(stack: Stack, *command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], env=stack.environment, check=True)


def percentiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return 1000 * ordered[len(ordered) // 2], 1000 * ordered[int(0.99 * len(ordered))]


def latencies(stack: Stack, jobs: list[str], each: int, events: int, rate: float) -> None:
    """So many sockets on each job, and a raw consumer of all."""
    floor = Side(stack, "benchmarks.amqp_baseline", stack.amqp, str(events * len(jobs)))
    sockets = crowd(stack, stack.port, jobs, each, events)
    before = _cpu(stack)
    publish(stack, "benchmarks.publish_load", stack.amqp, str(events), str(rate), *jobs)
    came, raw = sockets.result()["latencies"], floor.result()["latencies"]
    (p50, p99), (floor50, floor99) = percentiles(came), percentiles(raw)
    cost = 1e6 * (_cpu(stack) - before) / len(came)
    named = f"{len(jobs)} x {each}, {rate:g}/s"
    row(named, f"{floor50:.1f} {floor99:.1f}", f"{p50:.1f} {p99:.1f}",
        f"{p50 / floor50:.2f} {p99 / floor99:.2f}", f"{cost:.0f}")  # fmt: skip


def frames_a_second(stack: Stack, job: str, sockets: int, events: int) -> float:
    watching = crowd(stack, stack.port, [job], sockets, events)
    publish(stack, "benchmarks.publish_load", stack.amqp, str(events), "0", job)
    found = watching.result()
    return len(found["latencies"]) / float(found["seconds"])


def stock_frames_a_second(stack: Stack, job: str, sockets: int, events: int) -> float:
    with stock_server(stack) as port:
        watching = crowd(stack, port, [job], sockets, events)
        publish(stack, "benchmarks.stock_channel_layer", str(events), job)
        found = watching.result()
    return len(found["latencies"]) / float(found["seconds"])


@contextmanager
def stock_server(stack: Stack) -> Iterator[int]:
    port = free_port()
    command = ["daphne", "-p", str(port), "-v", "0", "benchmarks.stock_channel_layer:application"]
    # It is configured by itself.
    environment = {k: v for k, v in stack.environment.items() if k != "DJANGO_SETTINGS_MODULE"}
    server = subprocess.Popen([sys.executable, "-m", *command], env=environment)
    try:
        eventually(lambda: listens(f"amqp://127.0.0.1:{port}"), 20)
        yield port
    finally:
        server.terminate()
        server.wait()


def _cpu(stack: Stack) -> float:
    """Seconds of CPU that the web process has taken."""
    assert stack.web is not None
    told = Path(f"/proc/{stack.web.pid}/stat").read_text(encoding="ascii")
    user, system = told.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def new_jobs(stack: Stack, count: int) -> list[str]:
    return [stack.submit(epochs=100_000, name=f"Watched {index}") for index in range(count)]


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a tenth of the sockets")
    chosen = parser.parse_args(arguments or None)
    part = 10 if chosen.short else 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    with heimdall() as stack:
        row("latency, ms: jobs x sockets", "raw AMQP p50 p99", "sockets p50 p99", "ratios",
            "web CPU, us/frame")  # fmt: skip
        latencies(stack, new_jobs(stack, 200 // part), 5, 10, RATE / part)
        latencies(stack, new_jobs(stack, 1), 1000 // part, 20, 1)
        row("goal", "", "", f"p50 {GOAL_RATIO} at 200 x 5")
        ours = [frames_a_second(stack, job, 100, 500) for job in new_jobs(stack, 3)]
        stock = [stock_frames_a_second(stack, job, 100, 50) for job in new_jobs(stack, 3)]
        row("frames/s, 1 job x 100", "ours", "stock layer", "times", "goal")
        row("median of 3", f"{median(ours):,.0f}", f"{median(stock):,.0f}",
            f"{median(ours) / median(stock):.1f}", GOAL_TIMES)  # fmt: skip


if __name__ == "__main__":
    main()
