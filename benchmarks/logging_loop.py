"""The training of `benchmarks.sdk_log`: steps of a small network, with and without `run.log`.

python benchmarks/logging_loop.py FILE writes the figures to FILE as JSON.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch

import heimdall_sdk

BLOCKS, STEPS = 60, 100


def train(result: str) -> None:
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1))
    inputs = torch.randn(128, 256)
    calls: list[float] = []
    ratios: list[float] = []

    def block(run: heimdall_sdk.Run | None) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            loss = model(inputs).square().mean()
            loss.backward()
            value = loss.item()
            if run is not None:
                before = time.perf_counter()
                run.log(loss=value, accuracy=0.5, learning_rate=1e-3)
                calls.append(time.perf_counter() - before)
        return time.perf_counter() - start

    with heimdall_sdk.init(capture_output=False) as run:
        block(run)
        block(None)
        calls.clear()
        for _ in range(BLOCKS):
            without, with_log = block(None), block(run)
            # Of logarithms the mean is not shifted by noise, as that of ratios is.
            ratios.append(100 * math.log(with_log / without))
        tight = []
        for _ in range(20_000):
            before = time.perf_counter()
            run.log(loss=1.0, accuracy=0.5, learning_rate=1e-3)
            tight.append(time.perf_counter() - before)
        figures = {
            "in_training": percentiles(calls),
            "in_a_tight_loop": percentiles(tight),
            "slowdown": statistics.mean(ratios),
            "interval": 1.96 * statistics.stdev(ratios) / len(ratios) ** 0.5,
        }
        Path(result).write_text(json.dumps(figures))


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(1e6 * one for one in seconds)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100],
            "max": ordered[-1]}  # fmt: skip


if __name__ == "__main__":
    train(sys.argv[1])
