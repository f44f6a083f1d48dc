"""Data of ended jobs that retention deletes and keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from training.events import packing
from training.events.store import frames
from training.jobs import attempts, directories, lifecycle, results
from training.jobs.attempts import Attempt, EpochReport
from training.models import Epoch, EventBlock, Job, JobEvent, SystemBlock
from training.retention import ended_jobs
from training.retention.policy import Policy

OFF = Policy(*[0] * 11)


def report(epoch: int, path: str = "") -> EpochReport:
    return EpochReport(epoch, {"val_loss": 1 / epoch, "train_loss": 0.5}, 0.1, epoch == 3, path)


@pytest.fixture
def ended(running_attempt: Attempt) -> Job:
    """A job of five epochs, the third the best, that was cancelled a hundred days ago."""
    attempts.record_started(running_attempt, 240, 200, 40)
    folder = directories.attempt_directory(running_attempt.job_id, 1)
    folder.mkdir(parents=True)
    for kind, epoch in (("epoch", 3), ("best", 3), ("epoch", 4), ("epoch", 5)):
        for suffix in (".safetensors", ".safetensors.sha256"):
            (folder / f"{kind}-{epoch:06d}{suffix}").write_bytes(b"x" * 5000)
    for epoch in range(1, 6):
        attempts.record_epochs(
            running_attempt, report(epoch, str(folder / f"epoch-{epoch:06d}.safetensors"))
        )
    results.cancel_attempt(running_attempt)
    then = timezone.now() - timedelta(days=100)
    jobs = Job.objects.filter(pk=running_attempt.job_id)
    jobs.update(finished_at=then, sent_seq=jobs.values("seq"))
    return jobs.get()


def apply(policy: Policy, *, dry_run: bool = False) -> dict[str, int]:
    found: dict[str, int] = {}
    for step in ended_jobs.steps(policy, dry_run=dry_run):
        if step.count:
            found[step.kind] = found.get(step.kind, 0) + step.count
            assert step.bytes > 0, step
    return found


def wire(job: Job, after: int = 0, limit: int = 1000) -> list[bytes]:
    return [frame.body for frame in frames(job.pk, after, limit)]


def test_packed_events_are_read_as_before_from_every_seq(ended: Job) -> None:
    before = [wire(ended, after, limit) for after in range(ended.seq + 1) for limit in (1, 2, 50)]
    assert apply(replace(OFF, packed_events=90)) == {"events, packed": 6}
    assert not JobEvent.objects.filter(event="training:progress").exists()
    assert before == [
        wire(ended, after, limit) for after in range(ended.seq + 1) for limit in (1, 2, 50)
    ]
    assert apply(replace(OFF, packed_events=90)) == {}


def test_events_are_packed_in_blocks(ended: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    before = wire(ended)
    monkeypatch.setattr(packing.pack, "__defaults__", (2,))
    apply(replace(OFF, packed_events=90))
    assert EventBlock.objects.count() == 3
    assert wire(ended) == before
    assert wire(ended, after=4, limit=3) == before[4:7]


def test_events_of_active_unsent_or_recent_jobs_are_not_packed(ended: Job) -> None:
    Job.objects.update(sent_seq=0)
    assert apply(replace(OFF, packed_events=90)) == {}
    Job.objects.update(sent_seq=ended.seq, finished_at=timezone.now())
    assert apply(replace(OFF, packed_events=90)) == {}
    Job.objects.update(status="failed", finished_at=ended.finished_at)
    lifecycle.resume(Job.objects.get(), "ada")
    assert apply(replace(OFF, packed_events=90)) == {}


def test_job_that_continues_after_packing_has_all_events(ended: Job) -> None:
    Job.objects.update(status="failed")
    before = wire(ended)
    apply(replace(OFF, packed_events=90))
    lifecycle.resume(Job.objects.get(), "ada")
    after = wire(ended)
    assert (after[:-1], len(after)) == (before, len(before) + 1)


@pytest.mark.parametrize("packed_first", [True, False])
def test_timeline_remains_after_events_are_deleted(ended: Job, packed_first: bool) -> None:
    all_events = wire(ended)
    rows = JobEvent.objects.exclude(event="training:progress").count()
    if packed_first:
        apply(replace(OFF, packed_events=90))
    assert apply(replace(OFF, events=90), dry_run=True) == {"events": 6}
    assert apply(replace(OFF, events=90)) == {"events": 6}
    assert apply(replace(OFF, events=90)) == {}
    last = packing.deleted_up_to(ended.pk)
    assert wire(ended) == wire(ended, last) == all_events[last:]
    assert JobEvent.objects.count() == rows


def test_best_and_last_epoch_are_not_pruned(ended: Job) -> None:
    assert apply(replace(OFF, epochs=90)) == {"epochs": 3}
    assert list(Epoch.objects.values_list("epoch", flat=True)) == [3, 5]


def test_unreferenced_checkpoints_are_removed(ended: Job) -> None:
    folder = Path(ended.checkpoint_path).parent
    assert apply(replace(OFF, checkpoints=90), dry_run=True) == {"superseded checkpoints": 4}
    assert apply(replace(OFF, checkpoints=90)) == {"superseded checkpoints": 4}
    left = {path.name for path in folder.iterdir() if path.suffix == ".safetensors"}
    assert left == {"best-000003.safetensors", "epoch-000005.safetensors"}


def test_checkpoints_of_a_failed_job_are_kept_for_its_resume(ended: Job) -> None:
    Job.objects.update(status="failed")
    assert apply(replace(OFF, checkpoints=90)) == {}


def test_checkpoints_are_kept_if_the_newest_is_missing(ended: Job) -> None:
    Path(ended.checkpoint_path).unlink()
    assert apply(replace(OFF, checkpoints=90)) == {}


def test_logs_artifacts_and_system_figures_are_removed(ended: Job) -> None:
    folder = Path(ended.checkpoint_path).parent
    for name in ("trainer.log", "trainer.gap", "artifacts/a/b.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    SystemBlock.objects.create(
        job=ended, attempt=1, first_at=timezone.now(), samples={"at": []}, peak_memory=1,
        updated_at=timezone.now(),
    )  # fmt: skip
    policy = replace(OFF, logs=90, artifacts=90, system_figures=90)
    assert apply(policy) == {"logs": 2, "folders of artifacts": 1, "resource metrics": 1}
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".sha256"}


def test_policy_without_days_deletes_nothing(ended: Job) -> None:
    assert apply(OFF) == apply(OFF, dry_run=True) == {}


def test_undeletable_file_does_not_stop_deletion_of_the_others(
    ended: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = directories.attempt_directory(ended.pk, 1)
    for name in ("trainer.log", "trainer.gap"):
        (folder / name).write_bytes(b"x" * 5000)
    unlink = Path.unlink

    def refuse(path: Path, **options: bool) -> None:
        if path.name == "trainer.log":
            raise PermissionError("of another user")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert apply(replace(OFF, logs=30)) == {"logs": 1}
    assert (folder / "trainer.log").exists() and not (folder / "trainer.gap").exists()
    assert f"Cannot remove {folder / 'trainer.log'}: of another user" in caplog.text
