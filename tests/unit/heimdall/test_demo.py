"""The demo's user and dataset, and its output about a job."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rich.console import Console

from heimdall import demo
from tests.jobs import claim_job
from training.jobs import attempts, lifecycle, results
from training.localization.config import TrainConfig
from training.models import Dataset, Epoch, Job

TABLES = {
    "receivers.csv": "receiver_id,lat,lon,alt_m\nhill,45.0,7.0,500\ntown,45.1,7.1,300\n",
    "samples.csv": "sample_id,lat,lon,split\n"
    + "".join(
        f"s{n},45.0{n},7.0{n},{('train', 'val', 'test')[n % 3]}\n" for n in range(9)
    ),
    "measurements.csv": "sample_id,receiver_id,rssi_dbm\n"
    + "".join(f"s{n},hill,-{70 + n}\ns{n},town,-{90 - n}\n" for n in range(9)),
}  # fmt: skip
EVALUATION: dict[str, Any] = {
    "test": {"mean_m": 90.0, "rmse_m": 100.0, "median_m": 80.0, "p95_m": 200.0},
    "baselines": {
        "nearest_neighbors": {"mean_m": 900.0, "rmse_m": 1000.0, "median_m": 1.0, "p95_m": None}
    },
    "bound_rmse_m": 50.0,
}


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    monkeypatch.setattr(demo, "SYNTHETIC_SAMPLES", 60)
    return tmp_path


@pytest.fixture
def folder(data: Path) -> Path:
    found = data / "campaign"
    found.mkdir()
    for name, text in TABLES.items():
        (found / name).write_text(text)
    return found


def test_second_start_uses_the_same_user_password_and_dataset(db: None) -> None:
    dataset, password = demo.seed(None)
    assert demo.seed(None) == (dataset, password)
    user = User.objects.get()
    assert user.check_password(password)
    assert user.is_superuser
    assert dataset.samples == 60


def test_dataset_is_generated_again_if_its_file_is_missing(db: None) -> None:
    dataset, _ = demo.seed(None)
    Path(dataset.path).unlink()
    again, _ = demo.seed(None)
    assert again.pk != dataset.pk
    assert Path(again.path).exists()


def test_unchanged_folder_is_imported_once_and_a_changed_one_again(db: None, folder: Path) -> None:
    first, _ = demo.seed(folder)
    again, _ = demo.seed(folder)
    assert (again, first.name) == (first, "campaign")
    assert len(list((folder.parent / "data/datasets").iterdir())) == 1
    table = folder / "measurements.csv"
    table.write_text(table.read_text().replace("-70", "-71"))
    changed, _ = demo.seed(folder)
    assert changed != first
    assert Dataset.objects.count() == 2


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the demo prints; the job it starts is `Demo`."""
    out = io.StringIO()
    console = Console(file=out, width=200, color_system=None, highlight=False)
    monkeypatch.setattr(demo, "Console", lambda **_: console)
    monkeypatch.setattr(demo, "POLL_SECONDS", 0.01)
    return out


def record(attempt: attempts.Attempt, *losses: float) -> None:
    for epoch, loss in enumerate(losses, 1):
        metrics = {"val_loss": loss, "val_rmse": 100 * loss}
        is_best = loss == min(losses[:epoch])
        attempts.record_epochs(attempt, attempts.EpochReport(epoch, metrics, 0.1, is_best, "/c"))


def run_demo(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, after_submit: Any, stop_at_end: bool = False
) -> demo.Demo:
    """Run the demo in this thread; `after_submit` trains the job in place of a worker."""
    submit = lifecycle.submit

    def submit_and_train(*args: Any, **options: Any) -> Job:
        job = submit(*args, **options)
        after_submit(job)
        return job

    monkeypatch.setattr(lifecycle, "submit", submit_and_train)
    monkeypatch.setattr(connection, "close", lambda: None)
    running = demo.Demo(dataset, "geheim", epochs=3, stop_at_end=stop_at_end)
    running._show(8001)
    return running


def test_completed_job_is_shown_with_each_epoch_and_its_errors(
    dataset: Dataset, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(job: Job) -> None:
        attempt = claim_job(job)
        record(attempt, 3.0, 2.0, 2.5)
        results.complete_training(attempt, "/c", EVALUATION)

    run_demo(dataset, monkeypatch, train)
    lines = [line.strip() for line in shown.getvalue().splitlines()]
    assert lines[0] == f"http://127.0.0.1:8001/jobs/{Job.objects.get().pk}"
    assert lines[1] == "Sign in as demo, password geheim"
    assert "epoch 2/3  validation loss 2.000 (best 2.000)  RMSE 200 m" in lines
    assert "epoch 3/3  validation loss 2.500 (best 2.000)  RMSE 250 m" in lines
    assert "completed best epoch 2 of 3; errors on the test split:" in lines
    assert any(line.startswith("nearest neighbors") and "900 m" in line for line in lines)
    assert any(line.startswith("Cramér-Rao bound") and "50.0 m" in line for line in lines)
    assert lines[-1] == "The server keeps running; press Ctrl-C to stop it."


def test_failed_job_is_shown_with_its_reason_and_the_demo_fails(
    dataset: Dataset, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: stopped.append(number))
    running = run_demo(
        dataset,
        monkeypatch,
        lambda job: results.fail_attempt(claim_job(job), "No disk."),
        stop_at_end=True,
    )
    assert "failed No disk." in shown.getvalue()
    assert (running.exit_status, len(stopped)) == (1, 1)


def test_demo_with_exit_succeeds_with_its_job(
    dataset: Dataset, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(job: Job) -> None:
        attempt = claim_job(job)
        record(attempt, 1.0)
        results.complete_training(attempt, "/c", EVALUATION)

    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    running = run_demo(dataset, monkeypatch, train, stop_at_end=True)
    assert running.exit_status == 0
    assert "The server keeps running" not in shown.getvalue()


def test_unexpected_error_is_printed_and_the_demo_stops(
    dataset: Dataset, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: Job) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    running = run_demo(dataset, monkeypatch, fail, stop_at_end=True)
    assert "RuntimeError: no database" in shown.getvalue()
    assert running.exit_status == 1


def test_closed_demo_reports_that_its_job_continues(
    dataset: Dataset, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = demo.Demo(dataset, "geheim", epochs=3, stop_at_end=False)
    running.close()
    job = lifecycle.submit(dataset.owner, dataset, TrainConfig(epochs=3))
    record(claim_job(job), 3.0)
    monkeypatch.setattr(lifecycle, "submit", lambda *_: Job.objects.get(pk=job.pk))
    monkeypatch.setattr(connection, "close", lambda: None)
    running._show(8001)
    assert "Stopped after epoch 1; the job continues at the next start." in shown.getvalue()
    assert Epoch.objects.count() == 1
