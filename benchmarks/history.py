"""What is stored, read back over HTTP: long histories and long lists, on both databases.

python -m benchmarks.history [--short] [--only postgres|sqlite]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass

import httpx

from benchmarks.harness import heimdall, p50_p95, row
from tests.stack import Stack

EIGHT = "train_loss,val_loss,train_rmse,val_rmse,val_median,val_p95,val_nll,learning_rate"
CHART = "train_loss,val_loss,train_rmse,val_rmse,val_rmse_good_geom"
CALLS = 40


@dataclass(frozen=True)
class Question:
    """One call, and what it should take: ms at the percentile named, bytes."""

    name: str
    path: str
    goal_ms: float
    at: str = "p50"
    goal_bytes: int | None = None


def of_job(job_id: str) -> list[Question]:
    metrics = f"/jobs/{job_id}/metrics?series="
    return [
        Question("10,000 epochs x 8", f"{metrics}{EIGHT}&max_points=10000", 150,
                 goal_bytes=1_500_000),
        Question("chart-ready columns", f"{metrics}{CHART}&max_points=1000", 20),
    ]  # fmt: skip


FILTERED = "/jobs?page_size=50&param.learning_rate=0.001&param.batch_size=32&ordering="
LISTS = [
    Question("newest 50", "/jobs?page_size=50", 50, "p95"),
    Question("filtered, best RMSE first", f"{FILTERED}best_val_rmse", 100, "p95"),
    Question("filtered, worst first", f"{FILTERED}-best_val_rmse", 100, "p95"),
    Question("the only one of a seed", "/jobs?param.seed=77&ordering=best_val_rmse", 100, "p95"),
]


def ask(api: httpx.Client, question: Question, calls: int) -> tuple[float, float, float, int]:
    """Milliseconds of the first call, p50 and p95 of the others, and bytes as sent."""
    took, size = [], 0
    for _ in range(calls):
        began = time.perf_counter()
        with api.stream("GET", question.path) as answer:
            size = sum(len(chunk) for chunk in answer.iter_raw())
        took.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, (question.path, answer.status_code)
    return took[0], *p50_p95(took[1:]), size


def measure(stack: Stack, questions: list[Question], calls: int) -> dict[str, float]:
    found = {}
    with stack.api() as api:
        api.headers["Accept-Encoding"] = "identity"
        api.get("/jobs")
        for question in questions:
            first, p50, p95, size = ask(api, question, calls)
            found[question.name] = p50
            row(question.name, f"{first:.1f}", f"{p50:.1f}", f"{p95:.1f}", f"{size:,}",
                f"{question.at} {question.goal_ms:g}")  # fmt: skip
    return found


def filled(stack: Stack, jobs: int, epochs: int) -> str:
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.seed_database", str(jobs), str(epochs)]
    done = subprocess.run(
        command, env=stack.environment, capture_output=True, text=True, check=True
    )
    print(f"{jobs:,} jobs, {epochs:,} epochs stored in {time.monotonic() - began:.0f} s")
    return done.stdout.strip()


def run(database: str, short: bool, calls: int) -> None:
    sizes = [(1000, 20_000)] if short else [(10_000, 1_000_000), (100_000, 1_000_000)]
    before: dict[str, float] = {}
    for jobs, epochs in sizes:
        with heimdall(sqlite=database == "sqlite") as stack:
            job_id = filled(stack, jobs, epochs)
            row(f"{database}, ms", "first", "p50", "p95", "bytes", "goal")
            found = measure(stack, [*of_job(job_id), *LISTS], calls)
        for question in LISTS:
            if before:
                ratio = found[question.name] / before[question.name]
                row(question.name, f"{ratio:.2f} times that of 10,000 jobs; goal 1.5")
        before = found


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a thousand jobs")
    parser.add_argument("--only", choices=["postgres", "sqlite"])
    chosen = parser.parse_args(arguments or None)
    for database in [chosen.only] if chosen.only else ["postgres", "sqlite"]:
        run(database, chosen.short, 11 if chosen.short else CALLS)


if __name__ == "__main__":
    main()
