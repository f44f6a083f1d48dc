"""Resources held by slow and anonymous clients: python -m benchmarks.held_resources [--short].

Connections and threads of idle event streams; memory and latency while a stranger sends large
bodies; memory of readers that stall; a small zip of a large dataset; the heartbeat of a worker and
the queries of maintenance beside many running sweeps.
"""

from __future__ import annotations

import argparse
import io
import socket
import threading
import time
import zipfile
from contextlib import ExitStack, suppress
from statistics import quantiles

import httpx
import psutil
import psycopg

from benchmarks.harness import heimdall, memory_mb, process_status, row
from tests.stack import Stack

BLOCK = bytes(1 << 16)
SWEEPS = """
import sys, django; django.setup()
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from training.jobs import lifecycle
from training.jobs.policy import QueuePolicy
from training.localization.config import TrainConfig
from training.models import Claim, Dataset, Sweep
from training.workers.maintenance import MaintenanceThread
ada, dataset = User.objects.get(username="ada"), Dataset.objects.get()
policy = QueuePolicy(needs="gpu")
def passes():
    Claim.objects.all().delete()
    thread = MaintenanceThread("measured", 1)
    thread.run_once()
    with CaptureQueriesContext(connection) as queries:
        thread.run_once()
    return len(queries)
print(passes())
for number in range(int(sys.argv[1])):
    sweep = Sweep.objects.create(
        owner=ada, name=str(number), dataset=dataset, space={"seed": {"min": 1, "max": 9}},
        config=TrainConfig().model_dump(mode="json"), policy=policy.model_dump(), method="random",
        max_parallel=1, objective="val_loss", early_stopping={"rule": "median", "warmup_epochs": 1,
        "min_trials": 2}, total_trials=9, started_trials=1)
    lifecycle.submit(ada, dataset, TrainConfig(), policy=policy, sweep=sweep, trial=1)
print(passes())
"""


def database_connections(stack: Stack) -> int:
    with psycopg.connect(stack.environment["DATABASE_URL"]) as database:
        found = database.execute(
            "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchone()
    return int(found[0]) if found else 0


def idle_streams(stack: Stack, count: int) -> None:
    job_id = stack.submit(epochs=1)
    with stack.api() as api, stack.api("bob") as other, ExitStack() as streams:
        before = process_status(stack, "Threads"), database_connections(stack)
        started = time.monotonic()
        for _ in range(count):
            client = streams.enter_context(stack.api())
            stream = client.stream("GET", f"/jobs/{job_id}/events/stream")
            assert streams.enter_context(stream).status_code == 200
        seconds = time.monotonic() - started
        time.sleep(2)
        row("idle event streams", count, f"{seconds:.1f} s to open")
        row("  threads", f"{process_status(stack, 'Threads') - before[0]:+d}", "goal 0")
        row("  database connections", f"{database_connections(stack) - before[1]:+d}", "goal 0")
        answered = sum(other.get("/jobs").status_code == 200 for _ in range(20))
        row("  others answered", f"{answered} of 20")
        api.post(f"/jobs/{job_id}/cancel")


def health_p99_ms(stack: Stack, seconds: float) -> tuple[float, float]:
    """The 99th percentile and the maximum."""
    latencies: list[float] = []
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            started = time.monotonic()
            assert client.get("/healthz").status_code == 200
            latencies.append(1000 * (time.monotonic() - started))
            time.sleep(0.005)
    return quantiles(latencies, n=100, method="inclusive")[98], max(latencies)


def send_body(stack: Stack, size: int, sent: list[int]) -> None:
    """Send as fast as the server takes it, and read nothing."""
    head = (
        "POST /api/v1/training/datasets/import HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as client:
        client.sendall(head.encode())
        with suppress(OSError):
            for _ in range(size // len(BLOCK)):
                client.sendall(BLOCK)
                sent.append(len(BLOCK))


def strangers(stack: Stack, size: int, seconds: float) -> None:
    quiet, _ = health_p99_ms(stack, seconds)
    before, sent = memory_mb(stack), list[int]()
    senders = [threading.Thread(target=send_body, args=[stack, size, sent]) for _ in range(2)]
    for sender in senders:
        sender.start()
    busy, worst = health_p99_ms(stack, seconds)
    grown = memory_mb(stack) - before
    for sender in senders:
        sender.join()
    row("stranger sends 2 x", f"{size >> 20} MB", f"{sum(sent) / 1e6:.1f} MB were taken")
    row("  memory", f"{grown:+.1f} MB", "goal +20 MB")
    ratio = f"{busy / quiet:.1f} x of quiet {quiet:.1f} ms"
    row("  p99 of /healthz", f"{busy:.1f} ms", ratio, "goal 3 x")
    row("  longest", f"{worst:.1f} ms")


def stalled_readers(stack: Stack, size: int) -> None:
    with stack.api() as api:
        api.timeout = httpx.Timeout(300)
        made = api.post("/reports", json={"name": "large"}, headers={"Idempotency-Key": "1"})
        job_id = made.json()["id"]
        before = memory_mb(stack)
        blocks = (BLOCK for _ in range(size // len(BLOCK)))
        answer = api.put(f"/jobs/{job_id}/artifacts/large.bin", content=blocks)
        assert answer.status_code < 300, answer.text
        row("user uploads", f"{size >> 20} MB")
        row("  memory", f"{memory_mb(stack) - before:+.1f} MB")
    before = memory_mb(stack)
    request = (
        f"GET /api/v1/training/jobs/{job_id}/artifacts/large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {stack.tokens['ada']}\r\n\r\n"
    )
    with ExitStack() as readers:
        for _ in range(2):
            reader = socket.create_connection(("127.0.0.1", stack.port))
            readers.enter_context(reader)
            reader.sendall(request.encode())
            assert reader.recv(12) == b"HTTP/1.1 200"
        time.sleep(5)
        row("2 readers stall at", f"{size >> 20} MB")
        row("  memory of both", f"{memory_mb(stack) - before:+.1f} MB", "goal +10 MB")


def sparse_zip(stack: Stack, count: int) -> None:
    """A small file of as many receivers as samples, whose arrays grow with the square."""
    file = io.BytesIO()
    places = [f"{48 + i % 97 * 1e-3:.5f},{11 + i % 89 * 1e-3:.5f}" for i in range(count)]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, head, lines in (
            (
                "receivers",
                "receiver_id,lat,lon,alt_m",
                (f"r{i},{at},0" for i, at in enumerate(places)),
            ),
            ("samples", "sample_id,lat,lon", (f"s{i},{at}" for i, at in enumerate(places))),
            (
                "measurements",
                "sample_id,receiver_id,rssi_dbm",
                (f"s{i},r{i},-80" for i in range(count)),
            ),
        ):
            archive.writestr(f"{name}.csv", "\n".join([head, *lines, ""]))
    content = file.getvalue()
    peaks, before = [0], memory_mb(stack)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch_children, args=[stack, peaks, ended])
    watcher.start()
    started = time.monotonic()
    with stack.api() as api:
        answer = api.post(
            "/datasets/import", data={"name": "x"}, files={"file": ("x.zip", content)}
        )
    seconds = time.monotonic() - started
    ended.set()
    watcher.join()
    assert answer.status_code == 400, answer.text
    row("zip of a large dataset", f"{len(content) / 1e3:.0f} kB", answer.json()["detail"][:60])
    row("  refused after", f"{seconds:.2f} s", "goal 1 s")
    row("  memory", f"{memory_mb(stack) - before:+.1f} MB", "goal +50 MB")
    row("  import process, at most", f"{max(peaks) / 1e6:.0f} MB")


def _watch_children(stack: Stack, peaks: list[int], ended: threading.Event) -> None:
    assert stack.web is not None
    web = psutil.Process(stack.web.pid)
    while not ended.wait(0.005):
        for child in web.children(recursive=True):
            with suppress(psutil.Error):
                peaks.append(child.memory_info().rss)


def running_sweeps(stack: Stack, count: int, seconds: float) -> None:
    quiet, busy = stack.python("-c", SWEEPS, str(count)).split()
    row("running sweeps", count)
    row("  queries of a pass", busy, f"without sweeps {quiet}")
    stack.start_worker()
    ages = []
    with psycopg.connect(stack.environment["DATABASE_URL"], autocommit=True) as database:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = database.execute(
                "SELECT extract(epoch FROM now() - max(seen_at)) FROM training_worker"
            ).fetchone()
            if found and found[0] is not None:
                ages.append(float(found[0]))
            time.sleep(0.2)
    row("  oldest heartbeat", f"{max(ages):.1f} s", "lease 12 s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="smaller sizes")
    short = parser.parse_args().short
    with heimdall(12) as stack:
        idle_streams(stack, 20 if short else 200)
        strangers(stack, (50 if short else 500) << 20, 3 if short else 15)
        stalled_readers(stack, (40 if short else 400) << 20)
        sparse_zip(stack, 6000)
        running_sweeps(stack, 50 if short else 1000, 5 if short else 30)


if __name__ == "__main__":
    main()
