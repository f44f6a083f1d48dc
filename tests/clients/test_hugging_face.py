"""Hugging Face's `Trainer` reports into Heimdall unchanged.

`HEIMDALL_CLIENTS=full HUGGING_FACE_PYTHON=…/bin/python python3 manage.py test -n 0 tests/clients`
runs it, with an interpreter whose environment has `transformers`, `accelerate` and
`torch`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.stack import running_stack

PYTHON = os.environ.get("HUGGING_FACE_PYTHON", sys.executable)
HERE = Path(__file__).parent
STEPS = 40
MANIFEST = f"""
title = "Line"
command = ["{PYTHON}", "train.py", "{STEPS}", "0.3"]
[parameters]
count = {{ type = "integer", default = 3 }}
"""
pytestmark = [
    pytest.mark.skipif(
        os.environ.get("HEIMDALL_CLIENTS") != "full", reason="HEIMDALL_CLIENTS=full runs it"
    ),
    pytest.mark.timeout(600),
]


def test_trainer_inside_a_program_reports_progress_and_metrics(tmp_path: Path) -> None:
    folder = tmp_path / "programs" / "line"
    folder.mkdir(parents=True)
    (folder / "program.toml").write_text(MANIFEST)
    shutil.copy(HERE / "hugging_face_training.py", folder / "train.py")
    data = tmp_path / "data"
    data.mkdir()
    with (
        running_stack(data, HEIMDALL_PROGRAMS_DIR=str(folder.parent)) as stack,
        stack.api() as api,
    ):
        job_id = api.post("/jobs", json={"program": "line"}).json()["id"]
        job = stack.until(job_id, "completed", 300)
        metrics = api.get(f"/jobs/{job_id}/metrics").json()
        progress = [
            event["data"] for event in stack.events(job_id) if event["event"] == "training:progress"
        ]
    percents = [one["progress_percent"] for one in progress]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0, 100)
    assert any(0 < percent < 100 for percent in percents)
    assert any("estimated_end_at" in one for one in progress)
    assert {"loss", "learning_rate", "epoch", "eval_loss", "train_loss"} <= job["summary"].keys()
    assert metrics["step"][-1] == STEPS
    losses = [value for value in metrics["series"]["loss"] if value is not None]
    assert len(losses) > 1
    assert losses[-1] == job["summary"]["loss"]

