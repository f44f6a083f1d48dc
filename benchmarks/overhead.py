"""Overhead of Heimdall on a training: 200 epochs with and without it, alternately.

python -m benchmarks.overhead [--short]. Both train the same epochs on the same dataset
with one thread; with Heimdall every epoch is checkpointed, reported, stored and published. The
overhead is the median over pairs, which reduces the effect of a machine whose speed drifts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import datetime
from operator import truediv
from statistics import median
from typing import Any

from benchmarks.harness import heimdall, row, wait_without_polling
from tests.stack import Stack

EPOCHS, RUNS = 200, 5
# Samples, and the goal in percent, for epochs of about 15 and 100 ms.
SIZES = {"15 ms": (900, 3.0), "100 ms": (8000, 1.0)}
CONFIG = {"hidden": 64, "heads": 4, "layers": 2, "batch_size": 64}
GOAL_REPORT_US = 50
STORE = """
import django
django.setup()
from django.contrib.auth.models import User
from training.datasets.service import store_dataset
from training.localization.config import GenerateConfig
from training.localization.program import to_read_dataset
from training.localization.synthetic.generate import generate_dataset
dataset = generate_dataset(GenerateConfig(samples=%d, seed=3, timing_sigma_ns=None))
stored = store_dataset(User.objects.get(username="ada"), "Some", to_read_dataset(dataset))
print(stored.pk, stored.path)
"""


def train_bare(stack: Stack, path: str, config: dict[str, Any], folder: str = "") -> float:
    command = [sys.executable, "-m", "benchmarks.bare_loop", path, json.dumps(config), folder]
    # stdin stays open, because a trainer ends when it is closed.
    with subprocess.Popen(command, env=stack.environment, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        return float(json.loads(process.stdout.readline())["seconds"])


def train_with_heimdall(
    stack: Stack, dataset: str, config: dict[str, Any], expected: float
) -> float:
    """Seconds from the end of the first epoch to the end of the last, by the events' timestamps."""
    job_id = stack.submit(**{**config, "dataset_id": dataset, "name": "Measured"})
    wait_without_polling(stack, job_id, expected)
    epoch_ends = [
        datetime.fromisoformat(event["timestamp"])
        for event in stack.events(job_id)
        if event["event"] == "training:progress" and not event["data"]["is_best"]
    ]
    return (epoch_ends[-1] - epoch_ends[0]).total_seconds()


def measure(stack: Stack, name: str, epochs: int) -> None:
    samples, goal = SIZES[name]
    dataset, path = stack.python("-c", STORE % samples).split()[-2:]
    config = {**CONFIG, "epochs": epochs, "patience": epochs}
    without, with_heimdall = [], []
    for _ in range(RUNS):
        without.append(train_bare(stack, path, config))
        with_heimdall.append(train_with_heimdall(stack, dataset, config, without[-1]))
    with tempfile.TemporaryDirectory(dir=stack.folder) as folder:
        report = train_bare(stack, path, config, folder)
    seconds_per_epoch = median(without) / (epochs - 1)
    row(f"epochs of {1000 * seconds_per_epoch:.1f} ms",
        f"{median(without):.2f}", f"{median(with_heimdall):.2f}",
        f"{100 * (median(map(truediv, with_heimdall, without)) - 1):.1f} %", f"{goal:g} %",
        f"{1e6 * report:.0f}")  # fmt: skip


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="40 epochs")
    parser.add_argument("--only", choices=list(SIZES))
    options = parser.parse_args(arguments or None)
    with heimdall(15) as stack:
        stack.start_worker()
        row(f"s, medians of {RUNS}", "bare", "with Heimdall", "overhead", "goal",
            f"report us (goal {GOAL_REPORT_US})")  # fmt: skip
        for name in [options.only] if options.only else SIZES:
            measure(stack, name, 40 if options.short else EPOCHS)


if __name__ == "__main__":
    main()
