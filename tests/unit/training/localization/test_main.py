"""The trainer as a process, controlled through its pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.localization.data.dataset import Dataset
from training.programs.checkpoint_files import MODEL

QUICK = {"epochs": 3, "hidden": 16, "heads": 2, "layers": 1, "batch_size": 16, "portfolio": False}
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def spec(arrays: Dataset, tmp_path: Path) -> dict[str, Any]:
    arrays.save(tmp_path / "dataset")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    return {
        "dataset": str(tmp_path / "dataset"),
        "run_dir": str(run_dir),
        "parameters": QUICK,
        "resume_from": None,
        "threads": 1,
    }


def start(spec: dict[str, Any], command: str = "train") -> subprocess.Popen[str]:
    file = Path(spec.get("run_dir") or spec["output"]).parent / "spec.json"
    file.write_text(json.dumps({"type": command, "program": "localizer", **spec}))
    return subprocess.Popen(
        [sys.executable, "-m", "training.localization", command, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def lines(trainer: subprocess.Popen[str], *kinds: str) -> list[dict[str, Any]]:
    assert trainer.stdout is not None
    found = [json.loads(line) for line in trainer.stdout]
    return [line for line in found if line["type"] in kinds]


@pytest.fixture(scope="module")
def through(arrays: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one that nobody stops tells; each start of a process costs seconds."""
    folder = tmp_path_factory.mktemp("through")
    arrays.save(folder / "dataset")
    (folder / "run").mkdir()
    spec = {"dataset": str(folder / "dataset"), "run_dir": str(folder / "run")}
    with start({**spec, "parameters": QUICK, "resume_from": None, "threads": 1}) as trainer:
        messages = lines(trainer, "started", "epoch", "training_completed", "failed")
    assert trainer.returncode == 0
    return messages


def test_training_reports_its_start_each_epoch_and_its_end(through: list[dict[str, Any]]) -> None:
    messages = through
    assert [line["type"] for line in messages] == [
        "started",
        "epoch",
        "epoch",
        "epoch",
        "training_completed",
    ]
    assert messages[0]["resumed_from_epoch"] is None
    assert [line["epoch"] for line in messages[1:4]] == [1, 2, 3]
    assert Path(messages[-1]["checkpoint_path"]).exists()


def test_training_starts_from_the_model_of_another_one(
    spec: dict[str, Any], through: list[dict[str, Any]]
) -> None:
    best = through[-1]["checkpoint_path"]
    with start({**spec, "init_from": best}) as trainer:
        messages = lines(trainer, "started", "epoch", "training_completed", "failed")
    assert messages[0]["resumed_from_epoch"] is None
    assert [line.get("epoch") for line in messages] == [None, 1, 2, 3, None]
    losses = [line["metrics"]["val_loss"] for line in [through[1], messages[1]]]
    assert losses[1] < losses[0]


def test_training_cannot_start_from_a_missing_model(spec: dict[str, Any]) -> None:
    missing = str(Path(spec["run_dir"]) / "best-000001.safetensors")
    with start({**spec, "init_from": missing}) as trainer:
        (failed,) = lines(trainer, "failed")
    assert "The training cannot start from a model: " in failed["error_message"]
    assert "cannot be read" in failed["error_message"]


def test_training_resumed_from_the_checkpoint_of_a_pause_gives_the_same_numbers(
    spec: dict[str, Any], through: list[dict[str, Any]]
) -> None:
    expected = [line["metrics"] for line in through if line["type"] == "epoch"]
    with start(spec) as paused:
        assert paused.stdin is not None
        paused.stdin.write("pause\n")
        paused.stdin.flush()
        before = lines(paused, "epoch", "paused")
    assert before[-1]["type"] == "paused"
    stopped_at = len(before) - 1
    assert 1 <= stopped_at < 3

    new = Path(spec["run_dir"]).with_name("run-2")
    new.mkdir()
    resume = {**spec, "run_dir": str(new), "resume_from": before[-2]["checkpoint_path"]}
    with start(resume) as resumed:
        after = lines(resumed, "started", "epoch", "training_completed", "failed")
    assert after[0]["resumed_from_epoch"] == stopped_at
    found = [line["metrics"] for line in [*before[:-1], *after[1:-1]]]
    assert found == expected


@pytest.mark.timeout(240)
def test_kill_or_pause_in_the_final_step_leaves_the_model_bit_identical(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    """The portfolio is fitted after the last epoch; another attempt fits it again."""
    spec = {**spec, "parameters": {**QUICK, "portfolio": True}}
    with start(spec) as undisturbed:
        assert lines(undisturbed, "training_completed")

    killed, paused, completed = (tmp_path / name for name in ("killed", "paused", "completed"))
    for folder in (killed, paused, completed):
        folder.mkdir()
    with start({**spec, "run_dir": str(killed)}) as trainer:
        assert trainer.stdout is not None
        last = next(
            line
            for line in map(json.loads, trainer.stdout)
            if line["type"] == "epoch" and line["epoch"] == QUICK["epochs"]
        )
        trainer.kill()
        assert lines(trainer, "training_completed") == []
    assert not (killed / MODEL).exists()

    resume = {**spec, "resume_from": last["checkpoint_path"]}
    with start({**resume, "run_dir": str(paused)}) as trainer:
        assert trainer.stdin is not None
        trainer.stdin.write("pause\n")
        trainer.stdin.flush()
        assert lines(trainer, "epoch", "training_completed", "paused") == [{"type": "paused"}]
    assert not (paused / MODEL).exists()

    with start({**resume, "run_dir": str(completed)}) as trainer:
        (end,) = lines(trainer, "epoch", "training_completed", "paused")
    assert end["type"] == "training_completed"
    assert (completed / MODEL).read_bytes() == (Path(spec["run_dir"]) / MODEL).read_bytes()


def test_trainer_exits_when_its_parent_closes_stdin(spec: dict[str, Any]) -> None:
    with start(
        {**spec, "parameters": {**QUICK, "epochs": 100_000, "patience": 100_000}}
    ) as trainer:
        assert trainer.stdin is not None
        assert trainer.stdout is not None
        trainer.stdout.readline()
        trainer.stdin.close()
        assert trainer.wait(timeout=10) == 3


def test_missing_dataset_fails_the_job_with_the_reason(spec: dict[str, Any]) -> None:
    with start({**spec, "dataset": "/nowhere"}) as trainer:
        messages = lines(trainer, "failed")
    assert messages == [
        {"type": "failed", "error_message": "The dataset file /nowhere does not exist."}
    ]


def test_generation_reports_its_progress_and_its_summary(tmp_path: Path) -> None:
    output = tmp_path / "made"
    with start({"parameters": {"samples": 100}, "output": str(output)}, "generate") as trainer:
        messages = lines(trainer, "started", "generation", "generation_completed")
    assert messages[0]["dataset_size"] == 100
    assert messages[-2]["current"] == messages[-2]["total"] == 100
    assert messages[-1]["content_hash"] == Dataset.load(output).content_hash


def test_generation_without_any_reception_fails_and_leaves_no_file(tmp_path: Path) -> None:
    output = tmp_path / "made.safetensors"
    quiet = {"samples": 100, "transmit_dbm": -30, "noise_floor_dbm": 0, "detection_snr_db": 60}
    with start({"parameters": quiet, "output": str(output)}, "generate") as trainer:
        assert trainer.stdout is not None
        *_, last = map(json.loads, trainer.stdout)
        trainer.terminate()
    assert last["type"] == "failed"
    assert last["error_message"].startswith("No receiver detects any of the transmissions; raise")
    assert not output.exists()
