"""Two processes under torchrun, over gloo, as a job with `processes: 2` starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from training.localization.data.dataset import Dataset
from training.localization.fit.distributed import DistributedContext
from training.programs.messages import FD_VARIABLE

CONFIG = {"epochs": 4, "hidden": 16, "heads": 2, "layers": 1, "batch_size": 37, "members": 2}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def run(launcher: list[str], spec: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    file = folder / "spec.json"
    spec = {"type": "train", "program": "localizer", **spec, "run_dir": str(folder), "threads": 1}
    file.write_text(json.dumps(spec))
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, *launcher, "-m", "training.localization", "train", str(file)],
        stdin=subprocess.PIPE,
        env={**os.environ, FD_VARIABLE: str(writing)},
        pass_fds=(writing,),
    ):
        os.close(writing)
        with os.fdopen(reading) as messages:
            return [json.loads(line) for line in messages]


def losses(messages: list[dict[str, Any]]) -> list[float]:
    return [message["metrics"]["train_loss"] for message in messages if message["type"] == "epoch"]


@pytest.mark.timeout(180)
def test_two_processes_train_like_one_and_resume_its_checkpoint(
    arrays: Dataset, tmp_path: Path
) -> None:
    arrays.save(tmp_path / "dataset")
    spec = {"dataset": str(tmp_path / "dataset"), "parameters": CONFIG, "resume_from": None}
    alone = run([], spec, tmp_path / "alone")
    both = run(TORCHRUN, spec, tmp_path / "both")
    assert len(losses(both)) == 4
    assert losses(both) == pytest.approx(losses(alone), rel=1e-3)
    assert both[-1]["type"] == "training_completed"

    resume = {**spec, "resume_from": str(tmp_path / "alone" / "epoch-000001.safetensors")}
    resumed = run(TORCHRUN, resume, tmp_path / "resumed")
    assert losses(resumed) == pytest.approx(losses(alone)[1:], rel=1e-3)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("total", [0, 1, 7, 64])
def test_shards_are_adjacent_and_complete(world_size: int, total: int) -> None:
    batch = list(range(total))
    shards = [
        batch[DistributedContext(rank=rank, world_size=world_size).shard(total)]
        for rank in range(world_size)
    ]
    assert [row for shard in shards for row in shard] == batch
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_single_process_needs_no_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with DistributedContext.from_environment() as context:
        tensor = torch.tensor([1.0, 2.0])
        context.all_reduce([tensor])
        assert tensor.tolist() == [1.0, 2.0]
        assert context.broadcast(True) is True
        assert context.broadcast(False) is False
        assert context.is_rank_zero


def test_only_rank_zero_reports() -> None:
    assert DistributedContext(rank=0, world_size=2).is_rank_zero
    assert not DistributedContext(rank=1, world_size=2).is_rank_zero
