"""Programs whose scripts only write TensorBoard event files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from heimdall_sdk.messages import Point
from tests.jobs import claim_job, reload
from tests.polling import eventually
from training.jobs import artifacts, attempts, lifecycle
from training.models import Job, JobEvent
from training.models.states import Status
from training.points import columns, store
from training.programs.registry import get_program
from training.workers.event_follower import EventFollower
from training.workers.supervisor import supervise

pytestmark = pytest.mark.django_db(transaction=True)
MANIFEST = """
title = "Script"
command = ["python", "train.py"]
[parameters]
count = { type = "integer", default = 3 }
"""
# Defines `log`, `wait` for a file that the test creates, and `count`.
PREAMBLE = """
import json, os, pathlib, time
from tensorboardX import SummaryWriter
count = json.load(open(os.environ["HEIMDALL_SPEC"]))["parameters"]["count"]
def wait(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def no_other_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.jobs.queue.enqueue", lambda job_id, needs: None)


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """Of the program."""
    settings.PROGRAMS_DIR, settings.DATA_DIR = tmp_path, tmp_path / "data"
    found = tmp_path / "script"
    found.mkdir()
    return found


@pytest.fixture
def submit(folder: Path, ada: User) -> Callable[..., Job]:
    def submit(script: str, manifest: str = MANIFEST, **values: Any) -> Job:
        (folder / "program.toml").write_text(manifest)
        (folder / "train.py").write_text(PREAMBLE + script)
        parameters = get_program("script").parameters(**values)
        return lifecycle.submit(ada, None, parameters, "Mine", program="script")

    return submit


@contextmanager
def supervised(*jobs: Job) -> Iterator[None]:
    """The jobs run, and have ended at the end of the block."""

    def run(job: Job) -> None:
        try:
            supervise(job.pk, "worker")
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def series(job: Job) -> dict[str, list[tuple[int, float]]]:
    """Steps and values, by name."""
    found = {name: columns.read_series(job.pk, name) for name in store.series_names(job.pk)}
    return {
        name: list(zip(one.steps.tolist(), one.values.tolist(), strict=True))
        for name, one in found.items()
    }


def notes(job: Job) -> list[str]:
    return [event.data["reason"] for event in JobEvent.objects.filter(job=job, data__cause="note")]


def test_scalars_arrive_while_the_script_runs_and_are_equal_to_what_it_wrote(
    submit: Callable[..., Job], folder: Path
) -> None:
    job = submit("""
log = SummaryWriter(flush_secs=0.1)
for step in range(50):
    log.add_scalar("train/loss", 1 / (step + 1), step)
    log.add_scalar("lr", 2.0 ** -step, step)
wait("go")
log.add_scalar("train/loss", float("nan"), 50)
log.close()
pathlib.Path("written").write_text(log.logdir)
""")
    with supervised(job):
        eventually(lambda: len(series(job).get("lr", [])) == 50)
        assert reload(job).status == Status.RUNNING
        assert len(series(job)["train/loss"]) == 50
        (folder / "go").touch()
    assert reload(job).status == Status.COMPLETED
    found = series(job)
    assert found["lr"] == [(step, 2.0**-step) for step in range(50)]
    expected = [(step, float(np.float32(1 / (step + 1)))) for step in range(50)]
    assert str(found["train/loss"]) == str([*expected, (50, float("nan"))])
    assert (folder / "written").read_text().startswith("runs/")
    assert notes(job) == []


def test_values_of_a_script_that_ends_immediately_are_stored(submit: Callable[..., Job]) -> None:
    job = submit("""
with SummaryWriter("out/deep/er") as log:
    log.add_scalar("accuracy", 0.5, 1)
    log.add_hparams({"lr": 0.5}, {"hparam/accuracy": 0.75})
    log.add_text("note", "hello")
""")
    supervise(job.pk, "worker")
    assert series(job) == {"accuracy": [(1, 0.5)], "hparam/accuracy": [(0, 0.75)]}
    files = {one.name: one.path.read_text() for one in artifacts.list_artifacts(reload(job))}
    assert files == {
        "tensorboard/hyperparameters.json": '{\n  "lr": 0.5\n}',
        "tensorboard/note/00000000.txt": "hello",
    }


def test_attempt_after_a_crash_continues_the_series_without_duplicates(
    submit: Callable[..., Job], settings: Settings
) -> None:
    settings.MAX_CRASHES = 2
    job = submit("""
resumed = pathlib.Path("crashed").exists()
log = SummaryWriter(f"runs/{os.getpid()}")
for step in range(5 if resumed else 0, 15 if resumed else 10):
    log.add_scalar("loss", step, step)
log.close()
if not resumed:
    pathlib.Path("crashed").touch()
    os.kill(os.getpid(), 9)
""")
    supervise(job.pk, "worker")
    assert reload(job).status == Status.QUEUED
    first = series(job)
    assert first == {"loss": [(step, float(step)) for step in range(10)]}
    supervise(job.pk, "another")
    assert reload(job).status == Status.COMPLETED
    assert series(job) == {"loss": [(step, float(step)) for step in range(15)]}


def test_records_unread_when_a_worker_ends_are_read_by_the_next_attempt(
    submit: Callable[..., Job], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit("""
if not pathlib.Path("first").exists():
    pathlib.Path("first").touch()
    log = SummaryWriter("runs/first", flush_secs=0.1)
    log.add_scalar("loss", 1.0, 1)
    wait("stored")
    log.add_scalar("loss", 2.0, 2)
    log.close()
    os.kill(os.getpid(), 9)
""")
    real = EventFollower.poll

    def poll(self: EventFollower, pid: int, *, final: bool = False) -> list[Point]:
        return [] if final and reload(job).attempt == 1 else real(self, pid, final=final)

    monkeypatch.setattr(EventFollower, "poll", poll)
    with supervised(job):
        eventually(lambda: series(job))
        (folder / "stored").touch()
    supervise(job.pk, "another")
    assert reload(job).status == Status.COMPLETED
    assert series(job) == {"loss": [(1, 1.0), (2, 2.0)]}


def test_jobs_that_run_at_the_same_time_in_one_folder_do_not_mix(
    submit: Callable[..., Job], folder: Path
) -> None:
    script = """
# tensorboardX does not write the process into the file's name.
log = SummaryWriter(f"runs/{count}", flush_secs=0.1)
for step in range(20):
    log.add_scalar("count", count, step)
wait("go")
log.close()
"""
    first, second = submit(script, count=1), submit(script, count=2)
    with supervised(first, second):
        eventually(lambda: series(first) and series(second))
        (folder / "go").touch()
    for job, value in ((first, 1.0), (second, 2.0)):
        assert reload(job).status == Status.COMPLETED
        assert series(job) == {"count": [(step, value) for step in range(20)]}
        assert notes(job) == []


def test_other_job_of_the_program_that_ran_in_the_meantime_is_detected(
    submit: Callable[..., Job], job: Job
) -> None:
    first, second = submit(""), submit("")
    attempt = claim_job(first)
    claim_job(job)  # of another program
    assert attempts.has_been_alone(attempt, 60)
    claim_job(second)
    assert not attempts.has_been_alone(attempt, 60)
    row, hour_ago = Job.objects.filter(pk=second.pk), timezone.now() - timedelta(hours=1)
    row.update(status=Status.COMPLETED, heartbeat_at=hour_ago, finished_at=timezone.now())
    assert not attempts.has_been_alone(attempt, 60)
    row.update(finished_at=hour_ago)
    assert attempts.has_been_alone(attempt, 60)
    assert not attempts.has_been_alone(attempt, 7200)


def test_event_files_written_after_the_sdk_run_are_stored_without_replacing_sdk_series(
    submit: Callable[..., Job],
) -> None:
    job = submit("""
import heimdall_sdk
log = SummaryWriter(os.environ["TENSORBOARD_LOGDIR"])
with heimdall_sdk.init() as run:
    for epoch in run.epochs(0, 3):
        run.log(epoch=epoch, loss=0.1)
        log.add_scalar("loss", 0.1, epoch)
        log.add_scalar("gradient", 0.5, epoch)
log.add_scalar("final", 1.0, 3)
log.close()
""")
    supervise(job.pk, "worker")
    found = series(job)
    assert {value for _, value in found["loss"]} == {0.1}, "32 bits have replaced 64"
    assert found["gradient"] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert found["final"] == [(3, 1.0)]


def test_steps_are_epochs_if_the_manifest_declares_it(submit: Callable[..., Job]) -> None:
    settings = 'tensorboard = "epochs"\nobjective = { metric = "val_loss" }\n[parameters]'
    job = submit(
        """
log = SummaryWriter()
for epoch in (1, 2, 3):
    log.add_scalar("val_loss", abs(epoch - 2), epoch)
log.close()
""",
        MANIFEST.replace("[parameters]", settings),
    )
    supervise(job.pk, "worker")
    job = reload(job)
    assert (job.current_epoch, job.best_epoch, job.best_value) == (3, 2, 0.0)


def test_damaged_event_file_is_noted_and_the_job_completes(submit: Callable[..., Job]) -> None:
    job = submit("""
log = SummaryWriter("runs/x")
log.add_scalar("loss", 1.0, 1)
log.close()
(path,) = pathlib.Path("runs/x").iterdir()
with path.open("ab") as file:
    file.write(bytes(100))
""")
    supervise(job.pk, "worker")
    assert reload(job).status == Status.COMPLETED
    assert series(job) == {"loss": [(1, 1.0)]}
    (note,) = notes(job)
    assert "is damaged at byte" in note


def test_program_can_disable_event_files(submit: Callable[..., Job]) -> None:
    job = submit(
        """
log = SummaryWriter(os.environ.get("TENSORBOARD_LOGDIR", "runs"))
log.add_scalar("loss", 1.0, 1)
log.close()
""",
        MANIFEST.replace("[parameters]", 'tensorboard = "off"\n[parameters]'),
    )
    supervise(job.pk, "worker")
    assert reload(job).status == Status.COMPLETED
    assert series(job) == {}


def test_error_while_reading_does_not_end_the_training(
    submit: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*values: object) -> None:
        raise RuntimeError("a fault of the reader")

    monkeypatch.setattr("training.workers.event_follower.read_events", fail)
    job = submit("SummaryWriter('runs').close()")
    supervise(job.pk, "worker")
    assert reload(job).status == Status.COMPLETED
    (note,) = notes(job)
    assert note.startswith("TensorBoard: event files are no longer read because of an error")


def test_records_that_are_not_read_in_time_are_noted(
    submit: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.workers.supervisor.LAST_EVENTS_SECONDS", 0)
    monkeypatch.setattr("training.workers.event_follower.READ_BYTES", 500)
    job = submit("""
log = SummaryWriter("runs")
for step in range(1000):
    log.add_scalar("loss", step, step)
log.close()
""")
    supervise(job.pk, "worker")
    assert reload(job).status == Status.COMPLETED
    assert len(series(job)["loss"]) < 1000
    (note,) = notes(job)
    assert note.startswith("TensorBoard: the event files were not read to their end")


def test_note_waits_for_the_database(
    submit: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fails = attempts.record_note, [True]

    def record_note(attempt: attempts.Attempt, actor: str, message: str) -> None:
        if fails:
            fails.clear()
            raise OperationalError("the database restarts")
        real(attempt, actor, message)

    monkeypatch.setattr("training.jobs.attempts.record_note", record_note)
    job = submit("""
log = SummaryWriter("runs")
log.add_scalar("loss", 1.0, 2**60)
log.close()
""")
    supervise(job.pk, "worker")
    assert reload(job).status == Status.COMPLETED
    (note,) = notes(job)
    assert note.startswith("Not stored: step is 1152921504606846976")


def test_folder_with_an_unstorable_name_does_not_stop_the_training(
    submit: Callable[..., Job],
) -> None:
    job = submit("""
SummaryWriter(os.fsdecode(b"L\\xe4ufe")).close()
log = SummaryWriter("runs")
log.add_scalar("loss", 1.0, 1)
log.close()
""")
    supervise(job.pk, "worker")
    assert reload(job).status == Status.COMPLETED
    assert series(job) == {"loss": [(1, 1.0)]}
