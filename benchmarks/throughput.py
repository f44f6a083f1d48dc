"""Training samples per second through Heimdall: `python -m benchmarks.throughput`.

Heimdall runs completely: the web process, a worker, the trainer process, RabbitMQ, PostgreSQL, and
an event, a row and a synced checkpoint for each epoch. It is compared with a bare loop: the same
network, batches, optimizer, schedule and loss on the same tensors in memory, and the validation
split once per epoch, without writing or reporting anything. Runs alternate; the figures are medians
of seconds per epoch, without the first epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime
from itertools import pairwise
from operator import truediv
from pathlib import Path
from statistics import median

import torch
from torch import nn

from benchmarks.harness import heimdall, wait_without_polling
from tests.stack import Stack
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit.distributed import SINGLE_PROCESS
from training.localization.fit.state import TrainState, learning_rate
from training.localization.fit.tensors import EncodedSplit
from training.localization.localizer.loss import loss

STORE = """
import django
django.setup()
from django.contrib.auth.models import User
from training.datasets.service import store_dataset
from training.localization.config import GenerateConfig
from training.localization.program import to_read_dataset
from training.localization.synthetic.generate import generate_dataset
made = generate_dataset(GenerateConfig(samples=%d, timing_sigma_ns=%s))
dataset = store_dataset(User.objects.get(username="ada"), "Many", to_read_dataset(made))
print(dataset.pk, dataset.path)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--timing", action="store_true", help="with arrival times, so with refinement"
    )
    parser.add_argument("--bare", nargs=3, metavar=("DATASET", "EPOCHS", "THREADS"))
    options = parser.parse_args()
    if options.bare:
        path, epochs, threads = options.bare
        torch.set_num_threads(int(threads))
        print(json.dumps(train_bare(Dataset.load(Path(path)), TrainConfig(epochs=int(epochs)))))
        return
    with heimdall(lease_seconds=15) as stack:
        compare(stack, options)


def compare(stack: Stack, options: argparse.Namespace) -> None:
    made = STORE % (options.samples, 1000.0 if options.timing else None)
    stack.dataset, path = stack.python("-c", made).split()[-2:]
    stack.start_worker()
    rows = len(Dataset.load(Path(path)).rows("train"))
    threads = stack.python("-c", "from heimdall.settings import *; print(TRAINER_THREADS)").strip()
    heimdall_seconds: list[float] = []
    bare_seconds: list[float] = []
    for _ in range(options.runs):
        command = ("-m", "benchmarks.throughput", "--bare", path, str(options.epochs), threads)
        bare = json.loads(stack.python(*command).splitlines()[-1])
        bare_seconds.append(median(bare))
        epochs = measure_epochs(stack, options.epochs, sum(bare))
        heimdall_seconds.append(median(epochs))
        print(
            f"Heimdall {heimdall_seconds[-1]:.3f} s/epoch, bare {bare_seconds[-1]:.3f} s/epoch",
            flush=True,
        )
    rate, bare_rate = rows / median(heimdall_seconds), rows / median(bare_seconds)
    # The median over pairs is less sensitive to a machine whose speed drifts.
    ratio = median(map(truediv, bare_seconds, heimdall_seconds))
    print(f"Heimdall {rate:,.0f} samples/s, bare {bare_rate:,.0f} samples/s: {ratio:.3f}")


def measure_epochs(stack: Stack, epochs: int, expected: float) -> list[float]:
    """Seconds between the events of consecutive epochs, with checkpoint, row and event."""
    config = TrainConfig(epochs=epochs, portfolio=False).model_dump(mode="json")
    job = stack.submit(**config)
    wait_without_polling(stack, job, expected)
    events = [event for event in stack.events(job) if event["event"] == "training:progress"]
    times = [
        datetime.fromisoformat(event["timestamp"])
        for event in events
        if not event["data"]["is_best"]
    ]
    return [(after - before).total_seconds() for before, after in pairwise(times)]


def train_bare(dataset: Dataset, config: TrainConfig) -> list[float]:
    """Seconds of each epoch except the first."""
    state = TrainState.initial(config, dataset)
    model, optimizer = state.model, state.optimizer
    train, val = (EncodedSplit.from_dataset(dataset, state.normalizer, side, SINGLE_PROCESS.device)
                  for side in ("train", "val"))  # fmt: skip
    seconds = []
    for epoch in range(config.epochs):
        started, total = time.perf_counter(), 0.0
        model.train()
        batches = torch.randperm(len(train)).split(config.batch_size)
        clip_groups = model.clip_groups()
        for index, rows in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, (epoch + index / len(batches)) / config.epochs)
            kept = torch.rand(len(rows), train.mask.shape[1]) >= config.receiver_dropout
            kept[:, 0] = True
            mean, factor = model(train.tokens[rows], train.mask[rows] & kept)
            value = loss(mean, factor, train.target[rows]).mean()
            optimizer.zero_grad()
            value.backward()
            for clipped in clip_groups:
                nn.utils.clip_grad_norm_(clipped, config.gradient_clip)
            optimizer.step()
            state.update_average(epoch * len(batches) + index + 1)
            total += value.item()
        predictor = state.predictor.eval()
        with torch.no_grad():
            mean, factor = predictor(val.tokens, val.mask)
            score = loss(mean, factor, val.target).mean().item()
            rmse = ((mean[0] - val.target) ** 2).sum(dim=1).mean().sqrt().item()
        print(
            f"epoch {epoch + 1}: {total / len(batches):.4f} {score:.4f} {rmse:.4f}", file=sys.stderr
        )
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


if __name__ == "__main__":
    main()
