"""Points of reported jobs: accepted by one web process, and read back for charts.

python -m benchmarks.ingest [--short] [--only postgres|sqlite]
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from statistics import median

import httpx
import psutil

from benchmarks.harness import heimdall, p50_p95, row
from tests.stack import Stack

BATCH_POINTS = 10_000
GOAL_POINTS_PER_SECOND, GOAL_CHART_MS, GOAL_FIRST_CHART_MS = 100_000, 50, 1000
# Points of a long job are written to the database directly: the endpoint has its own figure.
STORE = """
import random, sys, django
django.setup()
from django.db import transaction
from training.jobs.points import store_points
from training.jobs.reports import REPORTED
from training.models import Job, PointIndex
from training.points import compaction
from training.points.rows import Row
compaction.start = lambda job_id, waiting: None
job_id, count = sys.argv[1], int(sys.argv[2])
for first in range(0, count, 50_000):
    points = {step: Row(step, 1e9 + step / 100, None, {"loss": random.random()})
              for step in range(first, first + 50_000)}
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job_id)
        store_points(job, REPORTED, points, {})
    if compaction.is_due(PointIndex.objects.get(pk=job_id)):
        assert compaction.compact(job.pk)
"""


def batches(count: int, first: int = 0) -> list[bytes]:
    """Bodies of batches of one series, as the SDK sends them."""
    rng = random.Random(first)
    return [
        gzip.compress(
            json.dumps(
                {
                    "batch": f"bench-{number}",
                    "points": [
                        {
                            "step": step,
                            "time": 1e9 + step / 100,
                            "values": {"loss": round(rng.random(), 6)},
                        }
                        for step in range(number * BATCH_POINTS, (number + 1) * BATCH_POINTS)
                    ],
                }
            ).encode(),
            compresslevel=1,
        )
        for number in range(first, first + count)
    ]


def register(api: httpx.Client, name: str) -> str:
    answer = api.post("/reports", json={"name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def post(api: httpx.Client, job_id: str, body: bytes) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = api.post(f"/reports/{job_id}/points", content=body, headers=headers)
    assert answer.json().get("accepted"), answer.text


def web_cpu_seconds(stack: Stack) -> float:
    assert stack.web
    times = psutil.Process(stack.web.pid).cpu_times()
    return float(times.user + times.system)


def accepted(stack: Stack, clients: int, each: int) -> tuple[float, float]:
    """Points a second that `clients` jobs report at once, and the web process's us a point."""
    work = batches(each)
    with stack.api() as api:
        jobs = [register(api, f"client {number}") for number in range(clients)]

    def send(job_id: str) -> None:
        with stack.api() as api:
            for body in work:
                post(api, job_id, body)

    threads = [threading.Thread(target=send, args=[job_id]) for job_id in jobs]
    started, before = time.perf_counter(), web_cpu_seconds(stack)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    points = clients * each * BATCH_POINTS
    seconds = time.perf_counter() - started
    return points / seconds, 1e6 * (web_cpu_seconds(stack) - before) / points


def chart_milliseconds(api: httpx.Client, path: str, calls: int) -> tuple[float, float, float, int]:
    """The first call, p50 and p95 of the others, and the response's bytes."""
    durations, size = [], 0
    for _ in range(calls):
        started = time.perf_counter()
        answer = api.get(path)
        durations.append(1000 * (time.perf_counter() - started))
        assert answer.status_code == 200, answer.text
        size = len(answer.content)
    return durations[0], *p50_p95(durations[1:]), size


def many_series(series: int, steps: int) -> Iterator[bytes]:
    rng = random.Random(1)
    per_batch = 5
    for number in range(steps // per_batch):
        points = [
            {
                "step": step,
                "time": 1e9 + step,
                "values": {f"layer/{name}": round(rng.random(), 6) for name in range(series)},
            }
            for step in range(number * per_batch, (number + 1) * per_batch)
        ]
        body = json.dumps({"batch": f"many-{number}", "points": points}).encode()
        yield gzip.compress(body, compresslevel=1)


def measure(stack: Stack, *, short: bool) -> None:
    for clients in (1, 4):
        found = [accepted(stack, clients, (8 if short else 40) // clients) for _ in range(3)]
        rate, cpu = median(rate for rate, _ in found), median(cpu for _, cpu in found)
        row(f"points/s, clients: {clients}", f"{rate:,.0f}", f"{cpu:.1f} us CPU each",
            f"goal {GOAL_POINTS_PER_SECOND:,}")  # fmt: skip
    with stack.api() as api:
        api.headers["Accept-Encoding"] = "identity"
        many = register(api, "many series")
        started = time.perf_counter()
        steps = 100 if short else 1000
        for body in many_series(1000, steps):
            post(api, many, body)
        seconds = time.perf_counter() - started
        row(f"values/s, 1,000 x {steps:,}", f"{1000 * steps / seconds:,.0f}")
        path = f"/jobs/{many}/metrics?series=layer/1,layer/2,layer/3&max_points=1000"
        cells = chart_milliseconds(api, path, 20)
        row("first of 1,000 series, ms", *(f"{cell:,.1f}" for cell in cells),
            f"goal {GOAL_FIRST_CHART_MS}")  # fmt: skip
        cells = chart_milliseconds(api, f"/jobs/{many}/metrics?max_points=1000", 3)
        row("all 1,000 series, ms", *(f"{cell:,.1f}" for cell in cells))
        long, count = register(api, "long"), 1_000_000 if short else 10_000_000
        subprocess.run(
            [sys.executable, "-c", STORE, long, str(count)], env=stack.environment, check=True
        )
        cells = chart_milliseconds(api, f"/jobs/{long}/metrics?series=loss&max_points=1000", 40)
        row(f"{count:,} points, ms", *(f"{cell:,.1f}" for cell in cells),
            f"goal p50 {GOAL_CHART_MS}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", choices=["postgres", "sqlite"])
    options = parser.parse_args()
    for database in ("postgres", "sqlite"):
        if options.only in (None, database):
            print(f"\n{database}: first, p50, p95, bytes for charts")
            with heimdall(sqlite=database == "sqlite") as stack:
                measure(stack, short=options.short)


if __name__ == "__main__":
    main()
