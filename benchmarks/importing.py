"""`heimdall import` of runs in MLflow's file store, and the same import again.

python -m benchmarks.importing [--short] [--runs N] [--points N] [--metrics N] [--only DATABASE]
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from benchmarks.harness import cpu_seconds, heimdall, row
from tests.stack import Stack

# The goal for this many is 10 minutes.
GOAL_RUNS, GOAL_POINTS = 10_000, 1_000
_EXPERIMENT_META = (
    "artifact_location: file:///x\nexperiment_id: '{id}'\nlifecycle_stage: active\nname: {name}\n"
)
_RUN_META = """\
artifact_uri: file:///x/artifacts
end_time: {end}
experiment_id: '{experiment}'
lifecycle_stage: active
run_id: {run}
run_name: {name}
start_time: {start}
status: 3
tags: []
user_id: ada
"""


def write_store(folder: Path, runs: int, points: int, metrics: int) -> None:
    """Values of several metrics, `points` in each run, as MLflow lays them out."""
    rng = random.Random(1)
    for number in range(runs):
        experiment = folder / str(number % 5 + 1)
        if number < 5:
            experiment.mkdir(parents=True)
            (experiment / "meta.yaml").write_text(
                _EXPERIMENT_META.format(id=experiment.name, name=f"experiment {experiment.name}")
            )
        run = experiment / uuid.UUID(int=rng.getrandbits(128)).hex
        start, steps = 1_700_000_000_000 + 60_000 * number, points // metrics
        for name in ("metrics", "params", "tags", "artifacts"):
            (run / name).mkdir(parents=True)
        (run / "meta.yaml").write_text(
            _RUN_META.format(
                experiment=experiment.name, run=run.name, name=f"run {number}", start=start,
                end=start + 100 * steps,
            )
        )  # fmt: skip
        for name, text in (("lr", f"{rng.random():.6f}"), ("optimizer", "adam"), ("layers", "4")):
            (run / "params" / name).write_text(text)
        for name, text in (("mlflow.runName", f"run {number}"), ("stage", "test")):
            (run / "tags" / name).write_text(text)
        for metric in range(metrics):
            (run / "metrics" / f"metric{metric}").write_text(
                "".join(f"{start + 100 * step} {rng.random()} {step}\n" for step in range(steps))
            )


def run_import(stack: Stack, store: Path) -> tuple[float, float, float]:
    """Seconds, and seconds of the processor that the command and the web process took."""
    assert stack.web is not None
    environment = {**os.environ, "HEIMDALL_URL": stack.url, "HEIMDALL_TOKEN": stack.tokens["ada"]}
    before, own = cpu_seconds(stack.web.pid), resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "heimdall_sdk", "import", str(store)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stderr)
    print("\n".join(done.stdout.splitlines()[-3:]))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    client = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
    return seconds, client, cpu_seconds(stack.web.pid) - before


def measure(stack: Stack, options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "mlruns"
        write_store(store, options.runs, options.points, options.metrics)
        for name in ("first", "again"):
            seconds, client, web = run_import(stack, store)
            goal = seconds / options.runs * GOAL_RUNS
            row(name, f"{seconds:.1f} s", f"{options.runs / seconds:.1f} runs/s",
                f"CPU: command {client:.1f} s, web {web:.1f} s",
                f"{GOAL_RUNS:,} runs: {goal / 60:.1f} min")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--points", type=int, default=GOAL_POINTS)
    parser.add_argument("--metrics", type=int, default=4)
    parser.add_argument("--only", choices=["postgres", "sqlite"])
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    if options.short:
        options.runs = 20
    for database in ("postgres", "sqlite"):
        if options.only in (None, database):
            print(f"\n{database}: {options.runs:,} runs x {options.points:,} points")
            with heimdall(sqlite=database == "sqlite") as stack:
                measure(stack, options)


if __name__ == "__main__":
    main()
