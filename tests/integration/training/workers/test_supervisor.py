"""An attempt from claim to end, with a real trainer process."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from tests.jobs import reload
from training.jobs import lifecycle
from training.jobs.directories import attempt_directory, job_directory
from training.localization.config import GenerateConfig, TrainConfig
from training.models import Dataset, Epoch, Job, JobEvent, TrainedModel
from training.models.states import Status
from training.workers import supervisor
from training.workers.supervisor import shutting_down, supervise

pytestmark = pytest.mark.django_db(transaction=True)
SMALL = {"hidden": 16, "heads": 2, "layers": 1, "batch_size": 16, "portfolio": False}
LONG = TrainConfig(epochs=10_000, patience=10_000, **SMALL)


@pytest.fixture(autouse=True)
def no_other_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.jobs.queue.enqueue", lambda job_id, needs: None)


def meanwhile(job: Job, act: Callable[[], object]) -> None:
    """Supervise the job, and act as soon as its first epoch is there."""

    def run() -> None:
        try:
            supervise(job.pk, "worker")
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 60
    while reload(job).current_epoch < 1:
        assert time.monotonic() < until, reload(job).error_message
        time.sleep(0.02)
    act()
    thread.join(timeout=60)
    assert not thread.is_alive()


def trainer_pid() -> int:
    (child,) = (
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _is_trainer_of_ours(entry)
    )
    return child


def _is_trainer_of_ours(entry: Path) -> bool:
    try:
        command = (entry / "cmdline").read_bytes()
        parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
    except OSError:
        return False
    return b"training.localization" in command and int(parent) == os.getpid()


def test_job_is_trained_to_completion(ada: User, dataset: Dataset) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=3, **SMALL))
    supervise(job.pk, "worker")
    done = reload(job)
    assert (done.status, done.current_epoch, done.error_message) == (Status.COMPLETED, 3, "")
    assert done.lease_expires_at is None
    assert done.started_at is not None
    events = list(JobEvent.objects.filter(job=job).values_list("event", "seq"))
    assert [seq for _, seq in events] == list(range(1, done.seq + 1))
    assert [name for name, _ in events][:3] == ["training:status"] * 2 + ["training:started"]
    model = TrainedModel.objects.get(job=job)
    assert model.evaluation["test"]["samples"] == dataset.facts["split"]["test"]
    assert Path(model.checkpoint_path).exists()


def test_paused_and_resumed_job_has_the_numbers_of_an_uninterrupted_one(
    ada: User, dataset: Dataset
) -> None:
    config = TrainConfig(epochs=120, patience=120, **SMALL)
    through, paused = (lifecycle.submit(ada, dataset, config) for _ in range(2))
    supervise(through.pk, "worker")
    meanwhile(paused, lambda: lifecycle.request_pause(paused, "ada"))
    assert reload(paused).status == Status.PAUSED
    stopped_at = reload(paused).current_epoch
    assert 1 <= stopped_at < 120
    lifecycle.resume(paused, "ada")
    supervise(paused.pk, "another")
    assert reload(paused).status == Status.COMPLETED
    started = JobEvent.objects.filter(job=paused, event="training:started").last()
    assert started is not None
    assert started.data["resumed_from_epoch"] == stopped_at
    first, second = (
        list(Epoch.objects.filter(job=job).values_list("epoch", "metrics", "is_best"))
        for job in (through, paused)
    )
    assert first == second
    evaluations = [TrainedModel.objects.get(job=job).evaluation for job in (through, paused)]
    assert evaluations[0] == evaluations[1]


def test_job_with_missing_checkpoints_is_trained_again(ada: User, dataset: Dataset) -> None:
    """As after a restore of rows that are older than the files."""
    config = TrainConfig(epochs=120, patience=120, **SMALL)
    through, restored = (lifecycle.submit(ada, dataset, config) for _ in range(2))
    supervise(through.pk, "worker")
    meanwhile(restored, lambda: lifecycle.request_pause(restored, "ada"))
    assert reload(restored).status == Status.PAUSED
    named = Path(reload(restored).checkpoint_path).relative_to(job_directory(restored.pk).parent)
    for path in attempt_directory(restored.pk, 1).glob("*.safetensors*"):
        path.unlink()
    lifecycle.resume(restored, "ada")
    supervise(restored.pk, "another")
    assert (reload(restored).status, reload(restored).error_message) == (Status.COMPLETED, "")
    note = JobEvent.objects.get(job=restored, data__cause="note")
    assert note.data["reason"] == f"jobs/{named} is missing; starting from the beginning."
    first, second = (
        list(Epoch.objects.filter(job=job).values_list("epoch", "metrics", "is_best"))
        for job in (through, restored)
    )
    assert first == second


def test_job_cancelled_or_paused_before_its_first_batch_stops_immediately(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer is still loading: there is nothing to be kept."""
    for ask, status in (
        (lifecycle.request_cancel, Status.CANCELLED),
        (lifecycle.request_pause, Status.PAUSED),
    ):
        job = lifecycle.submit(ada, dataset, LONG)
        timer = threading.Timer(0.3, ask, [job, "ada"])
        timer.start()
        began = time.monotonic()
        supervise(job.pk, "worker")
        timer.join()
        assert time.monotonic() - began < 10
        assert (reload(job).status, reload(job).current_epoch) == (status, 0)


def test_cancelled_job_stops_immediately(ada: User, dataset: Dataset) -> None:
    job = lifecycle.submit(ada, dataset, LONG)
    meanwhile(job, lambda: lifecycle.request_cancel(job, "ada"))
    assert reload(job).status == Status.CANCELLED


def test_job_of_a_killed_trainer_is_requeued(ada: User, dataset: Dataset) -> None:
    job = lifecycle.submit(ada, dataset, LONG)
    meanwhile(job, lambda: os.kill(trainer_pid(), signal.SIGKILL))
    assert (reload(job).status, reload(job).crashes) == (Status.QUEUED, 1)
    last = JobEvent.objects.filter(job=job).last()
    assert last is not None
    assert last.data["cause"] == "crashed"
    assert "signal SIGKILL" in last.data["reason"]


def test_temporary_database_outage_costs_no_attempt(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=5, patience=5, **SMALL))
    away_until = [0.0]
    real = Job.objects.filter

    def cut(*args: object, **named: object) -> object:
        if time.monotonic() < away_until[0] and threading.current_thread().name == "cut":
            raise OperationalError("server closed the connection unexpectedly")
        return real(*args, **named)

    monkeypatch.setattr(Job.objects, "filter", cut)

    def run() -> None:
        supervise(job.pk, "worker")
        connection.close()

    thread = threading.Thread(target=run, name="cut")
    thread.start()
    while reload(job).status == Status.QUEUED:
        time.sleep(0.01)
    away_until[0] = time.monotonic() + 5
    thread.join(timeout=60)
    assert (reload(job).status, reload(job).attempt) == (Status.COMPLETED, 1)
    assert list(Epoch.objects.filter(job=job).values_list("epoch", flat=True)) == [1, 2, 3, 4, 5]


def test_internal_error_counts_as_a_crash_and_is_reported(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("training.jobs.attempts.record_started", fail)
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=1, **SMALL))
    supervise(job.pk, "worker")
    assert (reload(job).status, reload(job).crashes) == (Status.QUEUED, 1)
    last = JobEvent.objects.filter(job=job).last()
    assert last is not None
    assert last.data["reason"] == "The supervisor failed: ValueError: a fault of ours."


def test_released_job_is_requeued_without_counting_a_crash(ada: User, dataset: Dataset) -> None:
    job = lifecycle.submit(ada, dataset, LONG)
    try:
        meanwhile(job, shutting_down.set)
    finally:
        shutting_down.clear()
    assert (reload(job).status, reload(job).crashes) == (Status.QUEUED, 0)
    assert JobEvent.objects.filter(job=job).latest("seq").data["cause"] == "worker_stopped"


def test_job_waits_for_disk_space_and_starts(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = iter([False, False, False])
    monkeypatch.setattr(supervisor, "has_disk_space", lambda _: next(space, True))
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=1, **SMALL))
    supervise(job.pk, "worker")
    assert (reload(job).status, reload(job).attempt) == (Status.COMPLETED, 1)
    notes = JobEvent.objects.filter(job=job, data__cause="note")
    assert [note.data["reason"] for note in notes] == ["The disk is full: waiting for space."]


def test_job_fails_if_the_disk_stays_full(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "has_disk_space", lambda _: False)
    monkeypatch.setattr(supervisor, "DISK_SPACE_SECONDS", 0.0)
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=1, **SMALL))
    supervise(job.pk, "worker")
    assert reload(job).status == Status.FAILED
    assert "The disk of the data folder was full" in reload(job).error_message


@pytest.mark.parametrize("action", [lifecycle.request_cancel, lifecycle.request_pause])
def test_job_that_waits_for_disk_space_can_be_stopped(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, action: Callable[..., object]
) -> None:
    job = lifecycle.submit(ada, dataset, LONG)
    polled = []

    def has_disk_space(_: Path) -> bool:
        polled.append(1)
        if len(polled) == 3:
            action(reload(job), "ada")
        return False

    monkeypatch.setattr(supervisor, "has_disk_space", has_disk_space)
    supervise(job.pk, "worker")
    assert reload(job).status in {Status.CANCELLED, Status.PAUSED}


@pytest.mark.parametrize(
    ("number", "status"),
    [(errno.ENOSPC, Status.QUEUED), (errno.EMFILE, Status.QUEUED), (errno.EACCES, Status.FAILED)],
)
def test_job_that_cannot_start_is_requeued_if_the_cause_is_temporary(
    ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, number: int, status: Status
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(supervisor, "TrainerProcess", fail)
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=1, **SMALL))
    supervise(job.pk, "worker")
    assert reload(job).status == status
    last = JobEvent.objects.filter(job=job).latest("seq").data
    assert os.strerror(number) in (last.get("reason") or last["error_message"])


def test_deleted_dataset_fails_the_job_with_the_reason(ada: User, dataset: Dataset) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=1))
    Path(dataset.path).unlink()
    supervise(job.pk, "worker")
    assert reload(job).status == Status.FAILED
    assert "does not exist" in reload(job).error_message


def test_generation_makes_a_dataset(ada: User) -> None:
    job = lifecycle.submit_generation(ada, "Made", GenerateConfig(samples=200))
    supervise(job.pk, "worker")
    made = Dataset.objects.get()
    assert job.dataset == made
    assert (reload(job).status, made.status, made.samples) == (Status.COMPLETED, "ready", 200)
    assert Path(made.path).exists()
    assert len(made.facts["receivers"]) == 7


def test_repeated_message_for_a_finished_job_does_nothing(ada: User, dataset: Dataset) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig())
    lifecycle.request_cancel(job, "ada")
    supervise(job.pk, "worker")
    assert reload(job).attempt == 0


def test_output_of_a_training_goes_to_its_log_only(
    ada: User, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library prints JSON and other text to stdout, from Python and from a child process."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        'os.write(1, b\'{"type": "failed", "error_message": "printed"}\\n\')\n'
        "print('{not json')\n"
        "os.system('echo from a child')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    job = lifecycle.submit(ada, dataset, TrainConfig(epochs=2, **SMALL))
    supervise(job.pk, "worker")
    assert (reload(job).status, reload(job).error_message) == (Status.COMPLETED, "")
    log = (attempt_directory(job.pk, 1) / "trainer.log").read_text()
    for printed in ('{"type": "failed"', "{not json", "from a child"):
        assert printed in log
    assert '"type":"epoch"' not in log
