"""Ten thousand WebSockets on one web process: python -m benchmarks.sockets [--short] [--nginx].

Memory of a socket; latency from an event to its clients at several rates; and the time until all
clients are back, with all events, after the web process was killed. Server, broker, database,
trainings and clients share the CPU of this machine. `--nginx`: the same through nginx.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.harness import cpu_seconds, heimdall, memory_mb, record_epochs, row
from benchmarks.socket_clients import Options, Report
from tests.broker import free_port, listens
from tests.polling import eventually
from tests.stack import Stack

GOAL_KB, GOAL_P99_MS, GOAL_BACK_SECONDS = 35, 250, 10
PROCESSES = 2  # of clients
JOBS = 4
SOURCES = [f"127.0.0.{number}" for number in range(2, 10)]
RATES = (10.0, 5.0, 2.0, 1.0)
MEASURED_SECONDS = 10
OPENING_SECONDS = 240
# Each socket takes two descriptors of nginx, whose limit counts for each of its processes.
NGINX_CONFIG = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 2;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    {map}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1;
            proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off; proxy_read_timeout 1h;
        }}
    }}
}}
"""


class ClientProcess:
    def __init__(self, stack: Stack, options: Options) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.socket_clients"], env=stack.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._send(options.model_dump_json())

    def wait_until_open(self) -> None:
        line = self._out.readline()
        assert line == "open\n", line

    def measure(self) -> None:
        self._send("measure")

    def report(self) -> Report:
        self._send("report")
        while (line := self._out.readline()) == "open\n":
            pass
        return Report.model_validate_json(line)

    def close(self) -> None:
        self._in.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        self._in.write(f"{line}\n")
        self._in.flush()


@contextmanager
def clients(
    stack: Stack, jobs: list[str], sockets: int, port: int
) -> Iterator[Sequence[ClientProcess]]:
    options = Options(address="127.0.0.1", port=port, token=stack.tokens["ada"], jobs=jobs,
                      sockets=sockets // PROCESSES, sources=SOURCES)  # fmt: skip
    with ExitStack() as processes:
        started = []
        for _ in range(PROCESSES):
            started.append(ClientProcess(stack, options))
            processes.callback(started[-1].close)
        for process in started:
            process.wait_until_open()
        yield started


def measure_rate(stack: Stack, rate: float, opened: Sequence[ClientProcess]) -> None:
    """Of events that are being recorded now."""
    web = stack.web
    assert web is not None
    for process in opened:
        process.measure()
    cpu, since = cpu_seconds(web.pid), time.monotonic()
    time.sleep(MEASURED_SECONDS)
    seconds = time.monotonic() - since
    cpu = cpu_seconds(web.pid) - cpu
    reports = [process.report() for process in opened]
    frames = sum(report.frames for report in reports)
    row(f"{rate:g}", f"{frames / seconds:,.0f}", f"{max(report.p50_ms for report in reports):.0f}",
        f"{max(report.p99_ms for report in reports):.0f}", f"{100 * cpu / seconds:.0f} %",
        f"{100 * sum(report.cpu_seconds for report in reports) / seconds:.0f} %",
        f"{1e6 * cpu / max(frames, 1):.0f}")  # fmt: skip


@contextmanager
def recording(stack: Stack, jobs: list[str], rate: float, seconds: float) -> Iterator[None]:
    workers = [record_epochs(stack, job, int(rate * seconds), rate, output=False) for job in jobs]
    try:
        yield
    finally:
        for worker in workers:
            worker.wait()


def measure_latency(stack: Stack, sockets: int, port: int) -> None:
    row("events/s to each", "frames/s", "p50 ms", "p99 ms", "web CPU", "clients' CPU",
        "web us/frame")  # fmt: skip
    for rate in RATES:
        jobs = new_jobs(stack)
        seconds = MEASURED_SECONDS + 20
        with clients(stack, jobs, sockets, port) as opened, recording(stack, jobs, rate, seconds):
            wait_for_epochs(opened)
            measure_rate(stack, rate, opened)


def wait_for_epochs(opened: Sequence[ClientProcess]) -> None:
    """Ask the clients: a saturated web process answers late."""
    eventually(lambda: all(low > 3 for one in opened for low, _ in one.report().seqs.values()), 60)


def measure_memory(stack: Stack, sockets: int, port: int) -> None:
    jobs = new_jobs(stack)
    with clients(stack, jobs, PROCESSES, port):
        before = memory_mb(stack)
    started = time.monotonic()
    with clients(stack, jobs, sockets, port):
        seconds = time.monotonic() - started
        time.sleep(3)
        grown = memory_mb(stack) - before
    row("sockets", f"{sockets:,}", f"open in {seconds:.1f} s")
    row("memory of a socket", f"{1024 * grown / sockets:.1f} kB", f"goal {GOAL_KB} kB")


def measure_kill(stack: Stack, sockets: int, port: int) -> None:
    jobs = new_jobs(stack)
    web = stack.web
    assert web is not None
    with clients(stack, jobs, sockets, port) as opened:
        with recording(stack, jobs, 1.0, 60):
            wait_for_epochs(opened)
            for process in opened:
                process.measure()
            killed_at = time.time()
            os.kill(web.pid, signal.SIGKILL)
            web.wait()
            stack.start_web()
            ready = time.time() - killed_at
            for process in opened:
                process.wait_until_open()
        latest = {job: stack.job(job)["seq"] for job in jobs}
        eventually(lambda: all(is_complete(one.report(), latest) for one in opened), 120)
        reports = [process.report() for process in opened]
    back = max(report.all_open_at for report in reports) - killed_at
    row("all back after kill -9", f"{back:.1f} s", f"goal {GOAL_BACK_SECONDS} s",
        f"web ready {ready:.1f} s")  # fmt: skip
    row("events lost", sum(report.gaps for report in reports), "goal 0",
        f"repeated {sum(report.repeated for report in reports)}")  # fmt: skip


def is_complete(report: Report, latest: dict[str, int]) -> bool:
    return all(report.seqs[job] == [seq, seq] for job, seq in latest.items())


def new_jobs(stack: Stack) -> list[str]:
    return [stack.submit(epochs=100_000, name=f"Followed {index}") for index in range(JOBS)]


@contextmanager
def nginx(stack: Stack) -> Iterator[int]:
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        sys.exit("nginx is not installed: the figures through nginx are left out.")
    port, folder = free_port(), stack.folder / "nginx"
    folder.mkdir()
    deployed = Path("deploy/nginx.conf").read_text(encoding="utf-8")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    config = folder / "nginx.conf"
    config.write_text(
        NGINX_CONFIG.format(folder=folder, port=port, upstream=stack.port, files=files,
                            connections=files - 100,
                            map=deployed[deployed.index("map ") : deployed.index("upstream ")])
    )  # fmt: skip
    process = subprocess.Popen([binary, "-c", str(config), "-p", str(folder)])
    try:
        eventually(lambda: listens(f"amqp://127.0.0.1:{port}"), 20)
        yield port
    finally:
        process.terminate()
        process.wait()


def raise_file_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = max(hard, 65_536)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="500 sockets")
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--nginx", action="store_true", help="through nginx")
    options = parser.parse_args(arguments or None)
    sockets = 500 if options.short else options.sockets
    raise_file_limit()
    with heimdall(HEIMDALL_SOCKETS_PER_USER=str(2 * sockets)) as stack, ExitStack() as proxies:
        port = proxies.enter_context(nginx(stack)) if options.nginx else stack.port
        measure_memory(stack, sockets, port)
        measure_latency(stack, sockets, port)
        measure_kill(stack, sockets, port)


if __name__ == "__main__":
    main()
