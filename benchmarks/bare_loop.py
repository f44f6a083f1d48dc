"""The same training without Heimdall: python -m benchmarks.bare_loop DATASET CONFIG [FOLDER].

Prints the seconds from the end of the first epoch to that of the last, as JSON. With a FOLDER what
Heimdall asks of the loop itself is done as well, and told is what that took: keeping the epoch's
numbers and line, and handing them now and then to the process that writes them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import IO, cast

import torch

from training.localization.__main__ import epoch_message
from training.localization.checkpoints.async_writer import AsyncCheckpointWriter
from training.localization.config import TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.fit import loop
from training.localization.fit.state import TrainState


def epochs(dataset: Dataset, config: TrainConfig) -> float:
    """Seconds of all epochs but the first, which warms up."""
    ended = [
        time.perf_counter()
        for progress in loop.fit(TrainState.initial(config, dataset), dataset)
        if isinstance(progress, loop.EpochResult)
    ]
    return ended[-1] - ended[0]


def report(dataset: Dataset, config: TrainConfig, folder: Path) -> float:
    """Median seconds that the loop spends on an epoch's report, its checkpoint included."""
    state = TrainState.initial(config, dataset)
    took = []
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as cat,
        AsyncCheckpointWriter(folder, cast(IO[bytes], cat.stdin).fileno()) as recorder,
    ):
        for one in loop.fit(state, dataset):
            if isinstance(one, loop.EpochResult):
                began = time.perf_counter()
                recorder.keep(state, one.is_best, epoch_message(one))
                took.append(time.perf_counter() - began)
            else:
                recorder.is_idle()
    return median(took)


def main(dataset_file: str, config_text: str, folder: str = "") -> None:
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # as in training
    torch.set_num_threads(1)
    out = sys.stdout
    dataset, config = Dataset.load(Path(dataset_file)), TrainConfig.model_validate_json(config_text)
    found = report(dataset, config, Path(folder)) if folder else epochs(dataset, config)
    print(json.dumps({"seconds": found}), file=out)


if __name__ == "__main__":
    main(*sys.argv[1:])
