"""The same training without Heimdall: python -m benchmarks.bare DATASET CONFIG [FOLDER].

Prints the seconds from the end of the first epoch to that of the last, as JSON. With a FOLDER what
Heimdall asks of the loop itself is done as well, and told is what an epoch's line took, and
handing over line and checkpoint to the process that writes them.
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

from training.engine import loop
from training.engine.__main__ import epoch_line
from training.engine.config import TrainConfig
from training.engine.dataset import Dataset
from training.engine.recorder import Recorder
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
    """Median seconds that the loop spends on an epoch's line, and on handing over all of it."""
    state = TrainState.fresh(config, dataset)
    told, kept = [], []
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as cat,
        Recorder(folder, cast(IO[bytes], cat.stdin).fileno()) as recorder,
    ):
        for one in loop.fit(state, dataset):
            if isinstance(one, loop.EpochResult):
                began = time.perf_counter()
                line = epoch_line(one, folder)
                told.append(time.perf_counter() - began)
                recorder.keep(state, one.is_best, line)
                kept.append(time.perf_counter() - began)
            else:
                recorder.is_idle()
    return {"report": median(told), "handed_over": median(kept)}


def main(dataset_file: str, config_text: str, folder: str = "") -> None:
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # as the trainer does
    torch.set_num_threads(1)
    out = sys.stdout
    dataset, config = Dataset.load(Path(dataset_file)), TrainConfig.model_validate_json(config_text)
    found = parts(dataset, config, Path(folder)) if folder else {"seconds": epochs(dataset, config)}
    print(json.dumps(found), file=out)


if __name__ == "__main__":
    main(*sys.argv[1:])
