"""What Heimdall costs a training: 200 epochs with it and without, one after the other in turn.

python -m benchmarks.overhead [--short]. Both do the same epochs of the same dataset with one
thread; with Heimdall every epoch is checkpointed, reported, stored and published. The overhead is
the median over pairs, so that a machine whose speed drifts counts less.
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

from benchmarks.harness import heimdall, row, wait_unseen
from tests.stack import Stack

EPOCHS, RUNS = 200, 5
# About 15 and 100 ms an epoch.
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
made = generate_dataset(GenerateConfig(samples=%d, seed=3, timing_sigma_ns=None))
made = store_dataset(User.objects.get(username="ada"), "Some", to_read_dataset(made))
print(made.pk, made.path)
"""


def bare(stack: Stack, path: str, config: dict[str, Any], folder: str = "") -> float:
    command = [sys.executable, "-m", "benchmarks.bare_loop", path, json.dumps(config), folder]
    # Its stdin stays open: a trainer ends with whoever started it.
    with subprocess.Popen(command, env=stack.environment, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        return float(json.loads(process.stdout.readline())["seconds"])


def watched(stack: Stack, dataset: str, config: dict[str, Any], expected: float) -> float:
    """Seconds from the end of the first epoch to that of the last, as the events tell it."""
    job_id = stack.submit(**{**config, "dataset_id": dataset, "name": "Measured"})
    wait_unseen(stack, job_id, expected)
    ended = [
        datetime.fromisoformat(one["timestamp"])
        for one in stack.events(job_id)
        if one["event"] == "training:progress" and not one["data"]["is_best"]
    ]
    return (ended[-1] - ended[0]).total_seconds()


def measure(stack: Stack, name: str, epochs: int) -> None:
    samples, goal = SIZES[name]
    dataset, path = stack.python("-c", STORE % samples).split()[-2:]
    config = {**CONFIG, "epochs": epochs, "patience": epochs}
    without, having = [], []
    for _ in range(RUNS):
        without.append(bare(stack, path, config))
        having.append(watched(stack, dataset, config, without[-1]))
    with tempfile.TemporaryDirectory(dir=stack.folder) as folder:
        report = bare(stack, path, config, folder)
    each = median(without) / (epochs - 1)
    row(f"epochs of {1000 * each:.1f} ms", f"{median(without):.2f}", f"{median(having):.2f}",
        f"{100 * (median(map(truediv, having, without)) - 1):.1f} %", f"{goal:g} %",
        f"{1e6 * report:.0f}")  # fmt: skip


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="40 epochs")
    parser.add_argument("--only", choices=list(SIZES))
    chosen = parser.parse_args(arguments or None)
    with heimdall(15) as stack:
        stack.start_worker()
        row(f"s, medians of {RUNS}", "bare", "with Heimdall", "overhead", "goal",
            f"report us (goal {GOAL_REPORT_US})")  # fmt: skip
        for name in [chosen.only] if chosen.only else SIZES:
            measure(stack, name, 40 if chosen.short else EPOCHS)


if __name__ == "__main__":
    main()
