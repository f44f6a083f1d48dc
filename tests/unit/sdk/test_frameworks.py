"""Trainings of Lightning and transformers, with the real packages where they are installed."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sdk.report_server import ReportServer
from tests.unit.sdk.supervision import SCRIPTS, Attempt, Supervised, script_environment
from training.programs.messages import Checkpointed, Paused, Started, TrainingCompleted

EPOCHS = 4


def _framework(script: str, package: str, loss: str, workers: int) -> Any:
    missing = importlib.util.find_spec(package) is None
    skip = pytest.mark.skipif(missing, reason=f"{package} is not installed")
    return pytest.param(script, loss, workers, marks=skip, id=f"{package}-{workers}-workers")


FRAMEWORKS = [
    _framework("lightning_module.py", "lightning", "val_loss", 0),
    _framework("transformers_trainer.py", "transformers", "eval_loss", 0),
]
WITH_WORKERS = [
    _framework("lightning_module.py", "lightning", "val_loss", 2),
    _framework("transformers_trainer.py", "transformers", "eval_loss", 2),
]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # Threads change the order of sums.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def epochs(attempt: Attempt) -> dict[int, dict[str, Any]]:
    """The metrics of each epoch without those that measure time."""
    found: dict[int, dict[str, Any]] = {}
    for point in attempt.points:
        if point.epoch is not None:
            found.setdefault(point.epoch, {}).update(point.values)
    return {
        epoch: {
            name: value for name, value in values.items()
            if not name.endswith(("_runtime", "_per_second", "_flos", "train_loss"))
        }
        for epoch, values in found.items()
    }  # fmt: skip


@pytest.mark.parametrize(("script", "loss", "workers"), FRAMEWORKS)
def test_epochs_are_reported_with_checkpoints(
    tmp_path: Path, script: str, loss: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPOCH_SECONDS", "0.5")  # faster epochs share a checkpoint
    with Supervised(tmp_path, script).start() as attempt:
        end = attempt.read()
    assert isinstance(end, TrainingCompleted), attempt.output
    started = attempt.received[0]
    assert isinstance(started, Started)
    assert started.total_epochs == EPOCHS
    assert list(epochs(attempt)) == [1, 2, 3, 4]
    assert all(loss in values for values in epochs(attempt).values())
    checkpoints = [one.epoch for one in attempt.received if isinstance(one, Checkpointed)]
    assert checkpoints == [1, 2, 3, 4]
    assert "best-" in end.checkpoint_path
    steps = [point.step for point in attempt.points if point.epoch is None]
    assert len(steps) >= EPOCHS


@pytest.mark.parametrize(("script", "loss", "workers"), FRAMEWORKS + WITH_WORKERS)
def test_killed_training_resumes_with_the_same_numbers(
    tmp_path: Path, script: str, loss: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADER_WORKERS", str(workers))
    check_resumed(tmp_path, script, monkeypatch)


@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="needs lightning")
def test_killed_training_resumes_with_the_same_learning_rate_on_a_plateau(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATEAU", "1")
    check_resumed(tmp_path, "lightning_module.py", monkeypatch)


def check_resumed(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Supervised(tmp_path / "whole", script).start() as whole:
        whole.read()
    monkeypatch.setenv("EPOCH_SECONDS", "0.5")
    job = Supervised(tmp_path / "killed", script)
    seen: dict[int, dict[str, Any]] = {}
    resumed = []
    for _ in range(3):
        with job.start() as attempt:
            attempt.read(lambda message: isinstance(message, Checkpointed))
            attempt.read(lambda _: False, seconds=random.uniform(0, 0.4))
        job.keep(attempt)
        for epoch, values in epochs(attempt).items():
            seen.setdefault(epoch, {}).update(values)
        resumed.append(next(one for one in attempt.received if isinstance(one, Started)))
    with job.start() as last:
        end = last.read()
    assert isinstance(end, TrainingCompleted), last.output
    for epoch, values in epochs(last).items():
        seen.setdefault(epoch, {}).update(values)
    assert [one.resumed_from_epoch for one in resumed] == [None, 1, 2]
    assert seen == epochs(whole)


@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="needs lightning")
def test_training_killed_after_it_stopped_early_trains_no_further_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As during the test that follows: it trained one more epoch each time it was killed."""
    monkeypatch.setenv("STOP_BELOW", "1e9")  # after the first epoch
    job = Supervised(tmp_path, "lightning_module.py")
    with job.start() as first:
        first.read()
    assert list(epochs(first)) == [1]
    job.keep(first)
    with job.start() as second:
        end = second.read()
    assert isinstance(end, TrainingCompleted), second.output
    assert epochs(second) == {}


@pytest.mark.parametrize(("script", "loss", "workers"), FRAMEWORKS)
def test_requested_pause_ends_after_a_checkpoint(
    tmp_path: Path, script: str, loss: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPOCH_SECONDS", "0.5")
    job = Supervised(tmp_path, script)
    with job.start() as first:
        first.read(lambda message: isinstance(message, Checkpointed))
        first.pause()
        end = first.read()
    assert isinstance(end, Paused), first.output
    job.keep(first)
    with job.start() as second:
        completed = second.read()
    assert isinstance(completed, TrainingCompleted), second.output
    assert max(epochs(second)) == EPOCHS


@pytest.mark.parametrize(("script", "loss", "workers"), FRAMEWORKS)
def test_reported_run_has_hyperparameters_and_epochs(
    tmp_path: Path, script: str, loss: str, workers: int
) -> None:
    with ReportServer() as server:
        environment = {**server.environment, "HEIMDALL_SPOOL": str(tmp_path / "spool")}
        subprocess.run(
            [sys.executable, str(SCRIPTS / script)], env=script_environment(**environment),
            cwd=tmp_path, check=True, capture_output=True, timeout=100,
        )  # fmt: skip
        run = server.run
    rate = {"lightning_module.py": "lr", "transformers_trainer.py": "learning_rate"}[script]
    assert run.registration["config"][rate] == 0.05
    assert run.registration["total_epochs"] == EPOCHS
    assert run.registration["objective"]["metric"] == loss
    assert {point.get("epoch") for point in run.points} == {None, 1, 2, 3, 4}
    assert run.ending == {"status": "completed"}
    assert list((tmp_path / "spool").iterdir()) == []
