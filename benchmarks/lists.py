"""Lists, forms and `/ws` of a large installation, on both databases.

python -m benchmarks.lists [--short] [--only postgres|sqlite] [--jobs N]

Three users read: staff, who see all jobs; one who owns two fifths of them and is in two teams; and
one who owns a few. Each row has p50 and p95 over HTTP, the CPU time of the web process, how many
times the p50 of a small installation in the same run that is, and the queries at both sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks.harness import (
    Seeded,
    cpu_seconds,
    heimdall,
    memory_mb,
    p50_p95,
    page_client,
    row,
    seed,
)
from benchmarks.seed_words import RARE_TAG, RARE_WORD
from tests.sockets import frame, open_socket
from tests.stack import Stack

API = "/api/v1/training"
GOAL_MS = 100
CALLS = 15
STAFF, HEAVY, LIGHT = "grace", "ada", "bob"
SOCKETS = 200
SMALL = 100  # jobs of the reference


@dataclass(frozen=True, slots=True)
class Read:
    name: str
    who: str
    path: str


@dataclass(frozen=True, slots=True)
class Result:
    p50: float
    p95: float
    cpu_ms: float  # of the web process for a call; other programs do not change it
    size: int
    queries: int


def reads(seeded: Seeded, jobs: int) -> list[Read]:
    keys = ["-created_at", seeded.middle_created_at.isoformat(), str(seeded.middle), 0]
    cursor = base64.urlsafe_b64encode(json.dumps(keys).encode()).decode()
    lists = {
        "newest": "?",
        "oldest": "?ordering=created_at",
        "deep cursor": f"?cursor={cursor}",
        "status failed": "?status=failed",
        "status running": "?status=running",
        "by duration": "?ordering=-duration",
        "by result": "?ordering=best_result",
        "by name": "?ordering=name",
        "param, by result": "?param.learning_rate=0.001&param.batch_size=32&ordering=best_result",
        "one seed": "?param.seed=77",
        "metric, no match": "?metric.val_loss__lt=-1000",
        "common tag": "?tag=tuned",
        "rare tag": f"?tag={RARE_TAG}",
        "search, common": "?search=urban",
        "search, rare": f"?search={RARE_WORD}",
        "search, no match": "?search=nothing-like-it",
        "owner": f"?owner={HEAVY}",
        "program": "?program=reported",
    }
    of_users = [
        Read(f"{kind}: {name}", who, path + query)
        for kind, path, readers in (
            ("page", "/jobs", (STAFF, HEAVY, LIGHT)),
            ("API", f"{API}/jobs", (HEAVY,)),
        )
        for who in readers
        for name, query in lists.items()
    ]
    admin = {
        "newest": "", "middle": f"?p={jobs // 100}", "status failed": "?status__exact=failed",
        "search, rare": f"?q={RARE_WORD}", "search, no match": "?q=nothing-like-it",
        "by progress": "?o=3",
    }  # fmt: skip
    compared = ",".join(map(str, seeded.compared))
    others = {
        "compare 8": f"/compare?jobs={compared}",
        "sweep page": f"/sweeps/{seeded.sweep}",
        "sweep API": f"{API}/sweeps/{seeded.sweep}",
        "sweeps": "/sweeps",
        "new job": "/jobs/new",
        "new sweep": "/sweeps/new",
        "datasets": "/datasets",
        "datasets API": f"{API}/datasets",
        "projects": "/projects",
        "models": "/models",
    }
    return [
        *of_users,
        *(
            Read(f"admin: {name}", STAFF, f"/admin/training/job/{query}")
            for name, query in admin.items()
        ),
        *(Read(name, HEAVY, path) for name, path in others.items()),
    ]


def measure(stack: Stack, requests: list[Read], calls: int) -> Iterator[Result]:
    described = [[read.who, stack.tokens[read.who], read.path] for read in requests]
    counted = subprocess.run(
        [sys.executable, "-m", "benchmarks.query_counts"], env=stack.environment, check=True,
        input=json.dumps(described), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    queries = json.loads(counted.stdout)
    assert stack.web is not None
    with ExitStack() as clients:
        pages = {
            who: clients.enter_context(page_client(stack, who)) for who in (STAFF, HEAVY, LIGHT)
        }
        for read, count in zip(requests, queries, strict=True):
            headers = {"Accept-Encoding": "identity"}
            if read.path.startswith(API):
                headers["Authorization"] = f"Bearer {stack.tokens[read.who]}"
            durations, size = [], 0
            for call in range(calls):
                if call == 1:  # the first one fills caches
                    cpu_before = cpu_seconds(stack.web.pid)
                started = time.perf_counter()
                response = pages[read.who].get(read.path, headers=headers)
                durations.append(1000 * (time.perf_counter() - started))
                assert response.status_code == 200, (read, response.status_code)
                size = len(response.content)
            cpu = 1000 * (cpu_seconds(stack.web.pid) - cpu_before) / (calls - 1)
            yield Result(*p50_p95(durations[1:]), cpu, size, count)


async def connect(stack: Stack, count: int) -> tuple[list[float], float]:
    """The milliseconds until the first frame of each `/ws`, and the kB of one."""
    durations: list[float] = []
    async with AsyncExitStack() as sockets:
        for _ in range(count + 1):
            if len(durations) == 1:  # the first one starts the hub
                before = memory_mb(stack)
            started = time.perf_counter()
            opened = open_socket(stack, who=STAFF, compression=None)
            await frame(await sockets.enter_async_context(opened))
            durations.append(1000 * (time.perf_counter() - started))
        return durations[1:], 1024 * (memory_mb(stack) - before) / count


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="1,000 jobs")
    parser.add_argument("--only", choices=["postgres", "sqlite"])
    parser.add_argument("--jobs", type=int, default=100_000)
    options = parser.parse_args(arguments or None)
    jobs = 1000 if options.short else options.jobs
    for database in [options.only] if options.only else ["postgres", "sqlite"]:
        run(database, jobs, 6 if options.short else CALLS)


def run(database: str, jobs: int, calls: int) -> None:
    with heimdall(sqlite=database == "sqlite") as stack:
        small = seed(stack, SMALL, 10_000 + 5 * SMALL, 10, 20)
        reference = list(measure(stack, reads(small, SMALL), calls))
        small_connect, _ = asyncio.run(connect(stack, SOCKETS // 4))
    with heimdall(sqlite=database == "sqlite") as stack:
        large = reads(seed(stack, jobs, 10_000 + 5 * jobs, jobs // 10, jobs // 100), jobs)
        row(f"{database}, {jobs:,} jobs", "user", "p50 ms", "p95 ms", f"p95 > {GOAL_MS}",
            "web CPU ms", "times small", "kB", "queries", "small")  # fmt: skip
        missed = 0
        for read, before, result in zip(
            large, reference, measure(stack, large, calls), strict=True
        ):
            missed += result.p95 > GOAL_MS
            print_result(read, before, result)
        durations, memory = asyncio.run(connect(stack, SOCKETS))
    p50, p95 = p50_p95(durations)
    row("/ws connect", STAFF, f"{p50:.1f}", f"{p95:.1f}", "", "",
        f"{p50 / median(small_connect):.2f}", "goal 20 ms")  # fmt: skip
    row("/ws memory", STAFF, f"{memory:.0f} kB", "", "", "", "", "goal 60 kB")
    print(f"{missed} of {len(large)} miss the goal", flush=True)


def print_result(read: Read, before: Result, result: Result) -> None:
    row(read.name, read.who, f"{result.p50:.1f}", f"{result.p95:.1f}",
        "missed" if result.p95 > GOAL_MS else "", f"{result.cpu_ms:.0f}",
        f"{result.p50 / before.p50:.2f}", result.size // 1000, result.queries,
        before.queries)  # fmt: skip


if __name__ == "__main__":
    main()
