"""Response times of long histories over HTTP, on both databases.

python -m benchmarks.history [--short] [--only postgres|sqlite]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import httpx

from benchmarks.harness import heimdall, p50_p95, row, seed
from tests.stack import Stack

EIGHT = "train_loss,val_loss,train_rmse,val_rmse,val_median,val_p95,val_nll,learning_rate"
CHART = "train_loss,val_loss,train_rmse,val_rmse,val_rmse_good_geom"
CALLS = 40


@dataclass(frozen=True)
class Request:
    """One API request and its goals: milliseconds (p50), and bytes."""

    name: str
    path: str
    goal_ms: float
    goal_bytes: int | None = None


def job_requests(job_id: str) -> list[Request]:
    metrics = f"/jobs/{job_id}/metrics?series="
    return [
        Request("10,000 epochs x 8", f"{metrics}{EIGHT}&max_points=10000", 150,
                 goal_bytes=1_500_000),
        Request("chart-ready columns", f"{metrics}{CHART}&max_points=1000", 20),
    ]  # fmt: skip


def send(api: httpx.Client, request: Request, calls: int) -> tuple[float, float, float, int]:
    """Milliseconds of the first call, p50 and p95 of the others, and the response's bytes."""
    durations, size = [], 0
    for _ in range(calls):
        started = time.perf_counter()
        with api.stream("GET", request.path) as response:
            size = sum(len(chunk) for chunk in response.iter_raw())
        durations.append(1000 * (time.perf_counter() - started))
        assert response.status_code == 200, (request.path, response.status_code)
    return durations[0], *p50_p95(durations[1:]), size


def measure(stack: Stack, requests: list[Request], calls: int) -> None:
    with stack.api() as api:
        api.headers["Accept-Encoding"] = "identity"
        api.get("/jobs")
        for request in requests:
            first, p50, p95, size = send(api, request, calls)
            row(request.name, f"{first:.1f}", f"{p50:.1f}", f"{p95:.1f}", f"{size:,}",
                f"{request.goal_ms:g}")  # fmt: skip


def run(database: str, short: bool, calls: int) -> None:
    with heimdall(sqlite=database == "sqlite") as stack:
        seeded = seed(stack, *((1000, 20_000) if short else (100_000, 1_000_000)))
        row(f"{database}, ms", "first", "p50", "p95", "bytes", "p50 goal")
        measure(stack, job_requests(str(seeded.longest)), calls)


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="1,000 jobs")
    parser.add_argument("--only", choices=["postgres", "sqlite"])
    options = parser.parse_args(arguments or None)
    for database in [options.only] if options.only else ["postgres", "sqlite"]:
        run(database, options.short, 11 if options.short else CALLS)


if __name__ == "__main__":
    main()
