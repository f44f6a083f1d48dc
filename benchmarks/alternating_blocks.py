"""The training of `benchmarks.overhead`: it reports to Heimdall in every second block of epochs.

Both kinds of blocks are measured in one process, seconds apart, so that drift of the machine and
differences between processes affect both alike. The figures go to the file OVERHEAD_RESULT.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch

# A script's own folder comes first, where `training` is another module.
sys.path[0] = os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])

import heimdall_sdk
from heimdall_sdk import messages
from training.localization.__main__ import Channel, epoch_message
from training.localization.checkpoints.async_writer import AsyncCheckpointWriter
from training.localization.config import GenerateConfig, TrainConfig
from training.localization.fit import loop
from training.localization.fit.state import TrainState
from training.localization.synthetic.generate import generate_dataset

# What a block caused may end after it: a batch of messages, a commit, a write.
DRAIN_SECONDS = 0.3
WARM_UP_EPOCHS = 5
# How the processes of an installation are recognized; the first text that occurs counts.
PROCESSES = {
    "checkpoint writer": "writer_process",
    "web": "manage.py serve",
    "worker": "celery",
    "broker": "beam.smp",
    "database": "postgres",
}


@dataclass(frozen=True)
class Options:
    kind: str
    epoch_seconds: float
    block_seconds: float
    pairs: int


class Training(Protocol):
    def train_epoch(self) -> None: ...

    def train_and_report_epoch(self, number: int) -> None: ...


class ScriptTraining:
    """A script with the SDK: `run.log` and `run.checkpoint` after each epoch."""

    def __init__(self, batches: int, run: heimdall_sdk.Run | None = None) -> None:
        self._batches, self._run = batches, run
        self._model = torch.nn.Sequential(
            torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1)
        )
        self._optimizer = torch.optim.Adam(self._model.parameters())
        self._inputs = torch.randn(64, 64)
        self._loss = 0.0

    def train_epoch(self) -> None:
        for _ in range(self._batches):
            loss = (self._model(self._inputs) - 1).square().mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self._loss = loss.item()

    def train_and_report_epoch(self, number: int) -> None:
        self.train_epoch()
        assert self._run is not None
        self._run.log(epoch=number, train_loss=self._loss, val_loss=self._loss, val_accuracy=0.5)
        self._run.checkpoint(number, model=self._model, optimizer=self._optimizer)


class LocalizerTraining:
    """The loop of `training.localization.__main__`, with and without its reports."""

    def __init__(
        self,
        samples: int,
        channel: Channel | None = None,
        writer: AsyncCheckpointWriter | None = None,
    ) -> None:
        dataset = generate_dataset(GenerateConfig(samples=samples, seed=3, timing_sigma_ns=None))
        config = TrainConfig(
            epochs=100_000, patience=100_000, hidden=64, heads=4, layers=2, batch_size=64
        )
        self._state = TrainState.initial(config, dataset)
        self._progress = loop.fit(self._state, dataset)
        self._channel, self._writer = channel, writer

    def train_epoch(self) -> None:
        for progress in self._progress:
            if isinstance(progress, loop.EpochResult):
                return

    def train_and_report_epoch(self, number: int) -> None:
        assert self._channel is not None
        assert self._writer is not None
        for progress in self._progress:
            if isinstance(progress, loop.EpochResult):
                message = replace(epoch_message(progress), epoch=number)
                self._writer.keep(self._state, progress.is_best, message)
                return
            if self._writer.is_idle():
                self._channel.send_batch_progress(progress)


def seconds_per_epoch(training: Training, epochs: int) -> float:
    for _ in range(WARM_UP_EPOCHS):
        training.train_epoch()
    started = time.perf_counter()
    for _ in range(epochs):
        training.train_epoch()
    return (time.perf_counter() - started) / epochs


def size_for(options: Options) -> int:
    """Batches or samples of an epoch that lasts as long as requested."""
    kind, size = (ScriptTraining, 50) if options.kind == "script" else (LocalizerTraining, 900)
    for _ in range(2):
        size = max(1, round(size * options.epoch_seconds / seconds_per_epoch(kind(size), 10)))
    return size


def processor_seconds() -> Counter[str]:
    """Of this process, by its own clock, and of all processes of the installation by group."""
    found: Counter[str] = Counter()
    for process in psutil.process_iter(["pid", "name", "cmdline", "cpu_times"]):
        command = " ".join([process.info["name"] or "", *(process.info["cmdline"] or [])])
        times = process.info["cpu_times"]
        if process.info["pid"] == os.getpid():
            found["training"] += times.user + times.system
            continue
        for group, text in PROCESSES.items():
            if text in command:
                found[group] += times.user + times.system
                break
    return found


def measure(training: Training, options: Options) -> dict[str, Any]:
    seconds = seconds_per_epoch(training, 20)
    epochs = max(2, round(options.block_seconds / seconds))
    reported = 0
    pairs = []
    spent: dict[str, Counter[str]] = {"with": Counter(), "without": Counter()}
    for index in range(options.pairs):
        pair: dict[str, dict[str, float]] = {}
        # In turn one or the other comes first, so that a steady drift cancels out.
        for block in ("with", "without") if index % 2 else ("without", "with"):
            before = processor_seconds()
            started, processor = time.perf_counter(), time.process_time()
            for _ in range(epochs):
                if block == "with":
                    reported += 1
                    training.train_and_report_epoch(reported)
                else:
                    training.train_epoch()
            pair[block] = {
                "wall": time.perf_counter() - started,
                "processor": time.process_time() - processor,
            }
            time.sleep(DRAIN_SECONDS)
            spent[block].update(processor_seconds() - before)
        pairs.append(pair)
    return {
        "seconds_per_epoch": seconds,
        "epochs": epochs,
        "pairs": pairs,
        "processor_seconds": spent,
    }


@contextmanager
def training_for(options: Options, size: int) -> Iterator[Training]:
    if options.kind == "script":
        with heimdall_sdk.init(name="Overhead", capture_output=False) as run:
            yield ScriptTraining(size, run)
        return
    channel = Channel()
    spec = messages_spec()
    channel.send(messages.Started())
    with AsyncCheckpointWriter(Path(spec.run_dir), channel.fd) as writer:
        yield LocalizerTraining(size, channel, writer)
    checkpoint = max(Path(spec.run_dir).rglob("*.safetensors"), default=Path(spec.run_dir))
    channel.send(messages.TrainingCompleted(checkpoint_path=str(checkpoint)))


def messages_spec() -> messages.TrainSpec:
    from training.programs.messages import TrainSpec, decode_spec

    spec = decode_spec(Path(os.environ[messages.SPEC_VARIABLE]).read_bytes())
    assert isinstance(spec, TrainSpec)
    return spec


def main() -> None:
    torch.set_num_threads(1)
    values = json.loads(os.environ.get("OVERHEAD_OPTIONS") or "{}") or messages_spec().parameters
    options = Options(
        values["kind"], values["epoch_seconds"], values["block_seconds"], values["pairs"]
    )
    size = size_for(options)
    with training_for(options, size) as training:
        figures = measure(training, options)
        # Once it is reported as completed, its supervisor ends the process.
        Path(os.environ["OVERHEAD_RESULT"]).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
