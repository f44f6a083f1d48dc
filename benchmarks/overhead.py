"""Overhead of Heimdall on a training: blocks of epochs with and without reports, alternately.

python -m benchmarks.overhead [--short] [--only NAME]. The localizer, a program with the SDK and a
reported run train with one thread; every epoch of a block "with" is checkpointed, reported, stored
and published (`benchmarks.alternating_blocks`). Overhead is the mean over pairs of blocks with its
95 % interval. Below it: processor time per reported epoch, by process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.harness import heimdall, row
from tests.polling import eventually
from tests.stack import Stack

SCRIPT = Path(__file__).with_name("alternating_blocks.py")
MANIFEST = f"""
title = "Overhead"
command = ["python", {json.dumps(str(SCRIPT))}]
needs = "cpu"
resumable = false
objective = {{ metric = "val_loss", direction = "minimize" }}

[parameters]
kind          = {{ enum = ["localizer", "script"], default = "script" }}
epoch_seconds = {{ type = "number", default = 0.1, exclusiveMinimum = 0 }}
block_seconds = {{ type = "number", default = 1, exclusiveMinimum = 0 }}
pairs         = {{ type = "integer", default = 100, minimum = 2 }}
"""
# The goal in percent by length of an epoch.
GOALS = {0.023: 2.0, 0.1: 1.0}
BLOCK_SECONDS = 1.0


@dataclass(frozen=True)
class Measurement:
    kind: str
    epoch_seconds: float

    @property
    def name(self) -> str:
        return f"{self.kind}-{1000 * self.epoch_seconds:.0f}ms"


MEASUREMENTS = [
    Measurement(kind, seconds) for kind in ("localizer", "program", "reported") for seconds in GOALS
]


def run_program(stack: Stack, options: dict[str, Any], result: Path) -> None:
    with stack.api() as api:
        body = {"program": "overhead", "name": "Overhead", "parameters": options}
        response = api.post("/jobs", json=body)
    assert response.status_code == 201, response.text
    stack.until(response.json()["id"], "completed", seconds=10 + 10 * options["pairs"])


def run_reported(stack: Stack, options: dict[str, Any], result: Path) -> None:
    environment = {
        **os.environ,
        "HEIMDALL_URL": stack.url,
        "HEIMDALL_TOKEN": stack.tokens["ada"],
        "HEIMDALL_SPOOL": str(stack.folder / "spool"),
        "OVERHEAD_OPTIONS": json.dumps(options),
        "OVERHEAD_RESULT": str(result),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(SCRIPT.parents[1] / "sdk"),
    }
    with subprocess.Popen([sys.executable, str(SCRIPT)], env=environment) as script:
        try:
            assert script.wait() == 0
        finally:
            script.kill()


def interval(ratios: list[float]) -> str:
    """Mean and 95 % interval, in percent, of the logarithms of ratios: noise shifts no mean."""
    logarithms = [100 * math.log(ratio) for ratio in ratios]
    half = 1.96 * stdev(logarithms) / math.sqrt(len(logarithms))
    return f"{mean(logarithms):.2f} ± {half:.2f} %"


def measure(stack: Stack, measurement: Measurement, pairs: int) -> None:
    result = stack.folder / "overhead.json"
    result.unlink(missing_ok=True)
    options = {
        "kind": "localizer" if measurement.kind == "localizer" else "script",
        "epoch_seconds": measurement.epoch_seconds,
        "block_seconds": BLOCK_SECONDS,
        "pairs": pairs,
    }
    run = run_reported if measurement.kind == "reported" else run_program
    run(stack, options, result)
    figures = json.loads(eventually(lambda: result.exists() and result.read_text()))
    ratios = {
        clock: interval([pair["with"][clock] / pair["without"][clock] for pair in figures["pairs"]])
        for clock in ("wall", "processor")
    }
    row(
        measurement.name,
        f"{1000 * figures['seconds_per_epoch']:.1f} ms",
        ratios["wall"],
        ratios["processor"],
        f"{GOALS[measurement.epoch_seconds]:g} %",
    )
    epochs = len(figures["pairs"]) * figures["epochs"]
    spent = {
        group: 1e6 * (seconds - figures["processor_seconds"]["without"].get(group, 0)) / epochs
        for group, seconds in figures["processor_seconds"]["with"].items()
    }
    print("  us an epoch:", ", ".join(f"{name} {us:.0f}" for name, us in spent.items()), flush=True)


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="5 pairs of blocks")
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--only", choices=[one.name for one in MEASUREMENTS])
    options = parser.parse_args(arguments or None)
    # A terminated benchmark ends its children, as one that is interrupted does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with heimdall(15, start=False) as stack:
        programs = stack.folder / "programs"
        (programs / "overhead").mkdir(parents=True)
        (programs / "overhead" / "program.toml").write_text(MANIFEST)
        stack.environment["HEIMDALL_PROGRAMS_DIR"] = str(programs)
        stack.start_web()
        stack.start_worker(OVERHEAD_RESULT=str(stack.folder / "overhead.json"))
        row("95 % intervals", "epoch", "wall", "processor", "goal")
        for measurement in MEASUREMENTS:
            if options.only in (None, measurement.name):
                measure(stack, measurement, 5 if options.short else options.pairs)


if __name__ == "__main__":
    main()
