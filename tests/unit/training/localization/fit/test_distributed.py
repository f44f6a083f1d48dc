"""Two processes under torchrun, over gloo, as a job with `processes: 2` starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.localization.data.dataset import Dataset

CONFIG = {"epochs": 4, "hidden": 16, "heads": 2, "layers": 1, "batch_size": 37, "members": 2}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def run(launcher: list[str], spec: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    file = folder / "spec.json"
    file.write_text(json.dumps({**spec, "run_dir": str(folder), "threads": 1}))
    with subprocess.Popen(
        [sys.executable, *launcher, "-m", "training.localization", "train", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        return [json.loads(line) for line in process.stdout if line.startswith("{")]


def losses(told: list[dict[str, Any]]) -> list[float]:
    return [one["metrics"]["train_loss"] for one in told if one["type"] == "epoch"]


@pytest.mark.timeout(180)
def test_two_processes_and_one_give_the_same_curve_and_either_can_resume_the_other(
    arrays: Dataset, tmp_path: Path
) -> None:
    arrays.save(tmp_path / "dataset")
    spec = {"dataset": str(tmp_path / "dataset"), "config": CONFIG, "resume_from": None}
    alone = run([], spec, tmp_path / "alone")
    both = run(TORCHRUN, spec, tmp_path / "both")
    assert len(losses(both)) == 4
    assert losses(both) == pytest.approx(losses(alone), rel=1e-3)
    assert both[-1]["type"] == "completed"

    resume = {**spec, "resume_from": str(tmp_path / "alone" / "epoch-000001.safetensors")}
    resumed = run(TORCHRUN, resume, tmp_path / "resumed")
    assert losses(resumed) == pytest.approx(losses(alone)[1:], rel=1e-3)
