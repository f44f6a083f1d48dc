"""Hugging Face's `Trainer` and Trackio report into Heimdall unchanged.

`HEIMDALL_CLIENTS=full HUGGING_FACE_PYTHON=…/bin/python python3 manage.py test -n 0 tests/clients`
runs it, with an interpreter whose environment has `transformers`, `accelerate`, `torch` and
`trackio`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import Stack, running_stack

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
    assert losses[-1] == pytest.approx(job["summary"]["loss"], rel=1e-5)


def test_trackio_logs_a_run_and_continues_it(embedded: Stack, tmp_path: Path) -> None:
    environment = {
        **{name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
        "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "TRACKIO_DIR": str(tmp_path),
        "TRACKIO_SERVER_URL": embedded.url, "TRACKIO_WRITE_TOKEN": embedded.tokens["ada"],
    }  # fmt: skip
    done = subprocess.run(
        [PYTHON, str(HERE / "trackio_training.py"), "8", "0.2"], env=environment, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    with embedded.api() as api:
        [job] = api.get("/jobs", params={"project": "radio"}).json()["results"]
        metrics = api.get(f"/jobs/{job['id']}/metrics").json()
    assert (job["name"], job["status"], job["tags"]) == ("first", "running", ["group: night"])
    assert job["config"] == {"lr": 0.1, "layers": [1, 2]}
    assert metrics["step"] == [*range(8), 13, 14]
    assert metrics["series"]["loss"] == [*(round(1 / step, 6) for step in range(1, 9)), None, 0.5]
