"""Generate a synthetic dataset on disk; a later call resumes after a pause or a crash."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from training.localization.config import GenerateConfig
from training.localization.data.dataset import Dataset
from training.localization.synthetic.generate import (
    BLOCK,
    Progress,
    build_dataset,
    generate_chunks,
    progress_report,
)


def partial_path(config: GenerateConfig, output: Path) -> Path:
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    return output.with_name(f"{output.name}.{digest[:16]}.part")


def generate_resumable(config: GenerateConfig, output: Path, progress: Progress) -> Dataset:
    """Generate the missing samples chunk by chunk, then write the dataset to `output`.

    `progress` is called after each chunk has been synced to disk.
    """
    partial, width = partial_path(config, output), 2 + 3 * len(config.receivers)
    sample_bytes = np.dtype(np.float32).itemsize * width
    done = _complete_samples(partial, sample_bytes, config.samples)
    with partial.open("r+b" if partial.exists() else "wb") as file:
        file.truncate(done * sample_bytes)
        file.seek(0, os.SEEK_END)
        for chunk in generate_chunks(config, done):
            file.write(chunk.tobytes())
            file.flush()
            os.fsync(file.fileno())
            done += len(chunk)
            progress(*progress_report(done, config.samples))
    dataset = build_dataset(config, np.fromfile(partial, np.float32).reshape(-1, width))
    dataset.save(output)
    partial.unlink()
    return dataset


def _complete_samples(partial: Path, sample_bytes: int, samples: int) -> int:
    # Samples in whole blocks of `partial`; a truncated block is generated again.
    count = partial.stat().st_size // sample_bytes if partial.exists() else 0
    return count // BLOCK * BLOCK if count <= samples else 0
