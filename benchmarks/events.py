"""From the publisher to a thousand WebSockets on one daphne: latency compared with a raw AMQP
consumer, and frames per second compared with the stock channel layer, in the same run.

python -m benchmarks.events [--short]. Publisher, broker, server, raw consumer and clients share the
CPU of this machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks.harness import cpu_seconds, heimdall, row
from tests.broker import free_port, listens
from tests.polling import eventually
from tests.stack import Stack

RATE = 200  # events per second, over all jobs
GOAL_RATIO, GOAL_TIMES = 1.5, 10


class ClientProcess:
    """A program that prints `open` when it is connected, and one line of JSON at the end."""

    def __init__(self, stack: Stack, *command: str, options: Any = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command], env=stack.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(options) + "\n")
        self._process.stdin.flush()
        self._out = self._process.stdout
        assert self._out.readline() == "open\n", f"{command[0]} did not open"

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._out.read() or "null")
        assert self._process.wait() == 0 and found, "the client ended early"
        return found


def open_websockets(
    stack: Stack, port: int, jobs: list[str], each: int, frames: int
) -> ClientProcess:
    paths = [f"/ws/training/{job}" for job in jobs for _ in range(each)]
    # Event 1, `queued`, is skipped: only the `connected` frame precedes the measured ones.
    paths = [f"{path}?after=1" for path in paths]
    options = {"port": port, "token": stack.tokens["ada"], "paths": paths, "frames": frames}
    return ClientProcess(stack, "benchmarks.websocket_load", options=options)


def publish(stack: Stack, *command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], env=stack.environment, check=True)


def percentiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return 1000 * ordered[len(ordered) // 2], 1000 * ordered[int(0.99 * len(ordered))]


def latencies(stack: Stack, jobs: list[str], each: int, events: int, rate: float) -> None:
    """Measure `each` WebSockets per job, and one raw consumer of all jobs."""
    baseline = ClientProcess(stack, "benchmarks.amqp_baseline", stack.amqp, str(events * len(jobs)))
    sockets = open_websockets(stack, stack.port, jobs, each, events)
    assert stack.web is not None
    cpu_before = cpu_seconds(stack.web.pid)
    publish(stack, "benchmarks.publish_load", stack.amqp, str(events), str(rate), *jobs)
    frames, raw = sockets.result()["latencies"], baseline.result()["latencies"]
    (p50, p99), (raw_p50, raw_p99) = percentiles(frames), percentiles(raw)
    cost = 1e6 * (cpu_seconds(stack.web.pid) - cpu_before) / len(frames)
    name = f"{len(jobs)} x {each}, {rate:g}/s"
    row(name, f"{raw_p50:.1f} {raw_p99:.1f}", f"{p50:.1f} {p99:.1f}",
        f"{p50 / raw_p50:.2f} {p99 / raw_p99:.2f}", f"{cost:.0f}")  # fmt: skip


def frames_per_second(stack: Stack, job: str, sockets: int, events: int) -> float:
    clients = open_websockets(stack, stack.port, [job], sockets, events)
    publish(stack, "benchmarks.publish_load", stack.amqp, str(events), "0", job)
    found = clients.result()
    return len(found["latencies"]) / float(found["seconds"])


def stock_frames_per_second(stack: Stack, job: str, sockets: int, events: int) -> float:
    with stock_server(stack) as port:
        clients = open_websockets(stack, port, [job], sockets, events)
        publish(stack, "benchmarks.stock_channel_layer", str(events), job)
        found = clients.result()
    return len(found["latencies"]) / float(found["seconds"])


@contextmanager
def stock_server(stack: Stack) -> Iterator[int]:
    port = free_port()
    command = ["daphne", "-p", str(port), "-v", "0", "benchmarks.stock_channel_layer:application"]
    # The module configures its own settings.
    environment = {k: v for k, v in stack.environment.items() if k != "DJANGO_SETTINGS_MODULE"}
    server = subprocess.Popen([sys.executable, "-m", *command], env=environment)
    try:
        eventually(lambda: listens(f"amqp://127.0.0.1:{port}"), 20)
        yield port
    finally:
        server.terminate()
        server.wait()


def new_jobs(stack: Stack, count: int) -> list[str]:
    return [stack.submit(epochs=100_000, name=f"Watched {index}") for index in range(count)]


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a tenth of the WebSockets")
    options = parser.parse_args(arguments or None)
    divisor = 10 if options.short else 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    with heimdall() as stack:
        row("latency, ms: jobs x clients", "raw AMQP p50 p99", "clients p50 p99", "ratios",
            "web CPU us/frame")  # fmt: skip
        latencies(stack, new_jobs(stack, 200 // divisor), 5, 10, RATE / divisor)
        latencies(stack, new_jobs(stack, 1), 1000 // divisor, 20, 1)
        row("goal", "", "", f"p50 {GOAL_RATIO} at 200 x 5")
        ours = [frames_per_second(stack, job, 100, 500) for job in new_jobs(stack, 3)]
        stock = [stock_frames_per_second(stack, job, 100, 50) for job in new_jobs(stack, 3)]
        row("frames/s, 1 job x 100", "ours", "stock layer", "times", "goal")
        row("median of 3", f"{median(ours):,.0f}", f"{median(stock):,.0f}",
            f"{median(ours) / median(stock):.1f}", GOAL_TIMES)  # fmt: skip


if __name__ == "__main__":
    main()
