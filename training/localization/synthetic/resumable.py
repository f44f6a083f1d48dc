"""A synthetic dataset that grows on disk, and goes on from there after a pause or a kill."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset
from training.localization.synthetic.generate import BLOCK, assemble, report_progress, transmissions

Progress = Callable[[int, int, str], None]


def partial_path(config: GenerateConfig, output: Path) -> Path:
    """Where it grows: another config has another file."""
    summed = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    return output.with_name(f"{output.name}.{summed[:16]}.part")


def generate_resumable(config: GenerateConfig, output: Path, progress: Progress) -> Dataset:
    """Make what is missing, chunk by chunk, and write the dataset to `output`.

    `progress` is called after each chunk, which is on disk then, and may raise to stop.
    """
    part, width = partial_path(config, output), 2 + 3 * len(config.receivers)
    record = 4 * width
    done = _whole_blocks(part, record, config.samples)
    with part.open("r+b" if part.exists() else "wb") as file:
        file.truncate(done * record)
        file.seek(0, os.SEEK_END)
        for chunk in transmissions(config, done):
            file.write(chunk.tobytes())
            file.flush()
            os.fsync(file.fileno())
            done += len(chunk)
            progress(*report_progress(done, config.samples))
    dataset = assemble(config, np.fromfile(part, np.float32).reshape(-1, width))
    dataset.save(output)
    part.unlink()
    return dataset


def _whole_blocks(part: Path, record: int, samples: int) -> int:
    """How many samples are there for certain; a block that was cut off is made again."""
    there = part.stat().st_size // record if part.exists() else 0
    return there // BLOCK * BLOCK if there <= samples else 0
