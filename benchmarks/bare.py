"""The same training without Heimdall: python -m benchmarks.bare DATASET CONFIG [FOLDER].

Prints the seconds from the end of the first epoch to that of the last, as JSON. With a FOLDER what
Heimdall asks of the loop itself is done as well, and what each part took is told: the checkpoint,
and the report of an epoch down a pipe that somebody reads.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

from training.engine import checkpoint, loop
from training.engine.__main__ import Pipe
from training.engine.config import TrainConfig
from training.engine.dataset import Dataset
from training.engine.state import TrainState


def epochs(dataset: Dataset, config: TrainConfig) -> float:
    """Seconds of all epochs but the first, which warms up."""
    ended = [
        time.perf_counter()
        for told in loop.fit(TrainState.fresh(config, dataset), dataset)
        if isinstance(told, loop.EpochResult)
    ]
    return ended[-1] - ended[0]


def parts(dataset: Dataset, config: TrainConfig, folder: Path) -> dict[str, float]:
    """Median seconds of a checkpoint and of a report."""
    state, store, pipe = TrainState.fresh(config, dataset), checkpoint.Store(folder), Pipe()
    kept, told = [], []
    quiet = subprocess.DEVNULL
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=quiet, text=True) as cat:
        assert cat.stdin is not None
        pipe._out = cat.stdin  # noqa: SLF001
        for one in loop.fit(state, dataset):
            if isinstance(one, loop.EpochResult):
                began = time.perf_counter()
                path = store.save(state, one.is_best)
                saved = time.perf_counter()
                pipe.say("epoch", epoch=one.epoch, metrics=one.metrics, seconds=one.seconds,
                         is_best=one.is_best, checkpoint_path=str(path))  # fmt: skip
                told.append(time.perf_counter() - saved)
                kept.append(saved - began)
        cat.stdin.close()
    return {"checkpoint": median(kept), "report": median(told)}


def main(dataset_file: str, config_text: str, folder: str = "") -> None:
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    out = sys.stdout
    dataset, config = Dataset.load(Path(dataset_file)), TrainConfig.model_validate_json(config_text)
    found = parts(dataset, config, Path(folder)) if folder else {"seconds": epochs(dataset, config)}
    print(json.dumps(found), file=out)


if __name__ == "__main__":
    main(*sys.argv[1:])
