"""State changes of a job: compare-and-set on its row, with the events of each change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import connection

from tests.jobs import claim_job, events_and_statuses, reload
from training.jobs import attempts, lifecycle, results
from training.jobs.attempts import Attempt, SupersededError
from training.localization.config import GenerateConfig, TrainConfig
from training.models import AuditEntry, Dataset, Epoch, Job, JobEvent
from training.models.states import Status, Stop

METRICS = {"val_loss": 1.0, "val_rmse": 10.0}


def test_submitted_job_is_queued_with_an_event(job: Job) -> None:
    assert reload(job).status == Status.QUEUED
    assert events_and_statuses(job) == [("training:status", "queued")]


def test_queued_job_is_paused_immediately(job: Job) -> None:
    assert lifecycle.request_pause(job, "ada").status == Status.PAUSED
    assert events_and_statuses(job)[1:] == [
        ("training:status", "paused"),
        ("training:completed", "paused"),
    ]


def test_pause_of_a_running_job_is_only_requested(job: Job) -> None:
    attempts.claim(job.pk, "worker")
    pausing = lifecycle.request_pause(job, "ada")
    assert (pausing.status, pausing.stop_requested) == (Status.RUNNING, Stop.PAUSE)


def test_repeated_pause_request_changes_nothing(job: Job) -> None:
    attempts.claim(job.pk, "worker")
    lifecycle.request_pause(job, "ada")
    before = events_and_statuses(job)
    lifecycle.request_pause(job, "ada")
    assert events_and_statuses(job) == before


def test_cancel_replaces_a_requested_pause_but_not_vice_versa(job: Job) -> None:
    attempts.claim(job.pk, "worker")
    lifecycle.request_pause(job, "ada")
    assert lifecycle.request_cancel(job, "ada").stop_requested == Stop.CANCEL
    with pytest.raises(
        lifecycle.ConflictError, match="is running, and cancel was already requested"
    ):
        lifecycle.request_pause(job, "ada")


def test_finished_job_rejects_pause_cancel_and_resume(job: Job) -> None:
    lifecycle.request_cancel(job, "ada")
    for request in (lifecycle.request_pause, lifecycle.request_cancel, lifecycle.resume):
        with pytest.raises(lifecycle.ConflictError, match="it is cancelled"):
            request(job, "ada")


def test_only_one_worker_gets_a_job(job: Job) -> None:
    assert attempts.claim(job.pk, "one") is not None
    assert attempts.claim(job.pk, "two") is None
    assert reload(job).worker == "one"


@pytest.mark.django_db(transaction=True)
def test_one_of_many_concurrent_claims_wins(ada: User, dataset: Dataset) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig())

    def claim(name: int) -> bool:
        try:
            return attempts.claim(job.pk, str(name)) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(40))) == 1
    assert events_and_statuses(job) == [
        ("training:status", "queued"),
        ("training:status", "running"),
    ]


def test_epoch_is_stored_once_with_its_events(job: Job, running_attempt: Attempt) -> None:
    for _ in range(2):
        attempts.record_epochs(running_attempt, attempts.EpochReport(1, METRICS, 0.5, True, "/c/1"))
    assert Epoch.objects.filter(job=job).count() == 1
    assert events_and_statuses(job)[2:] == [("training:progress", ""), ("training:progress", "")]
    assert (reload(job).best_epoch, reload(job).checkpoint_path) == (1, "/c/1")


def test_missing_epoch_is_an_error(job: Job, running_attempt: Attempt) -> None:
    with pytest.raises(RuntimeError, match="an epoch is missing"):
        attempts.record_epochs(
            running_attempt, attempts.EpochReport(2, METRICS, 0.5, False, "/c/2")
        )


def test_superseded_attempt_cannot_write(job: Job) -> None:
    old = claim_job(job, "sleeper")
    results.requeue_or_fail(old, "worker@here", "crashed", "No heartbeat.")
    new = claim_job(job)
    before = events_and_statuses(job)
    for write in (
        lambda: attempts.requested_stop(old),
        lambda: attempts.record_epochs(old, attempts.EpochReport(1, METRICS, 0.5, True, "/c/1")),
        lambda: results.complete_training(old, "/c/1", {}),
        lambda: results.fail_attempt(old, "late"),
    ):
        with pytest.raises(SupersededError):
            write()
    assert not attempts.extend_lease(old)
    assert events_and_statuses(job) == before
    assert (reload(job).attempt, new.number) == (2, 2)


def test_job_that_keeps_crashing_fails_with_the_reason(job: Job) -> None:
    for _ in range(3):
        attempt = claim_job(job)
        results.requeue_or_fail(attempt, "worker", "crashed", "Killed.")
    assert reload(job).status == Status.FAILED
    assert reload(job).error_message.startswith("Killed. That was crash 3 in a row")


def test_epoch_between_two_crashes_resets_the_crash_count(job: Job) -> None:
    for epoch in range(1, 4):
        attempt = claim_job(job)
        attempts.record_epochs(attempt, attempts.EpochReport(epoch, METRICS, 0.5, False, "/c"))
        results.requeue_or_fail(attempt, "worker", "crashed", "Killed.")
    assert reload(job).status == Status.QUEUED


def test_every_status_event_names_its_cause(job: Job) -> None:
    attempt = claim_job(job)
    attempts.record_note(attempt, "worker", "A checkpoint is damaged.")
    results.requeue_or_fail(attempt, "worker", "worker_stopped", "The worker was stopped.")
    attempt = claim_job(job)
    lifecycle.request_pause(job, "ada")
    results.pause_attempt(attempt)
    lifecycle.resume(job, "ada")
    lifecycle.request_pause(job, "ada")
    lifecycle.request_cancel(job, "ada")
    found = JobEvent.objects.filter(job=job, event="training:status").order_by("seq")
    assert [event.data["cause"] for event in found] == [
        "queued", "claimed", "note", "worker_stopped", "claimed", "pause_requested", "resumed",
        "paused", "cancelled",
    ]  # fmt: skip


def test_interrupted_job_with_a_requested_cancellation_is_cancelled(
    job: Job, running_attempt: Attempt
) -> None:
    lifecycle.request_cancel(job, "ada")
    results.requeue_or_fail(running_attempt, "worker@here", "crashed", "No heartbeat.")
    assert reload(job).status == Status.CANCELLED


def test_failed_job_resumes_from_its_checkpoint(job: Job, running_attempt: Attempt) -> None:
    attempts.record_epochs(running_attempt, attempts.EpochReport(1, METRICS, 0.5, True, "/c/1"))
    results.fail_attempt(running_attempt, "No disk.")
    resumed = lifecycle.resume(job, "ada")
    assert (resumed.status, resumed.error_message) == (Status.QUEUED, "")
    assert resumed.checkpoint_path == "/c/1"


def test_running_job_cannot_be_deleted(job: Job) -> None:
    with pytest.raises(lifecycle.ConflictError, match="Cannot delete this job: it is queued"):
        lifecycle.delete_job(job)
    lifecycle.request_cancel(job, "ada")
    lifecycle.delete_job(job)
    assert not Job.objects.exists()
    assert not JobEvent.objects.exists()


def test_job_that_another_process_deleted_counts_as_deleted(job: Job) -> None:
    lifecycle.request_cancel(job, "ada")
    Job.objects.all().delete()
    lifecycle.delete_job(job)
    assert not AuditEntry.objects.filter(action="delete").exists()


def test_cancelled_generation_leaves_a_failed_dataset(ada: User) -> None:
    job = lifecycle.submit_generation(ada, "Made", GenerateConfig(samples=50))
    made = Dataset.objects.get()
    assert (job.dataset, made.status) == (made, Dataset.State.GENERATING)
    lifecycle.request_cancel(job, "ada")
    assert Dataset.objects.get().status == Dataset.State.FAILED


def test_old_snapshot_plus_events_equals_the_new_snapshot(
    job: Job, running_attempt: Attempt
) -> None:
    """Like a page does: a snapshot plus all later events gives the current state."""
    page = {"status": "", "stop_requested": "", "epoch": 0, "best": None}
    attempts.record_started(running_attempt, 240, 160, 40)
    attempts.record_epochs(running_attempt, attempts.EpochReport(1, METRICS, 0.5, True, "/c/1"))
    attempts.record_epochs(running_attempt, attempts.EpochReport(2, METRICS, 0.5, False, "/c/2"))
    lifecycle.request_pause(job, "ada")
    results.pause_attempt(running_attempt)
    for event in JobEvent.objects.filter(job=job):
        data = event.data
        page["status"] = data.get("status", page["status"])
        if event.event == "training:status":
            page["stop_requested"] = data["stop_requested"]
        if event.event == "training:completed":
            page["stop_requested"] = ""
        if event.event == "training:progress":
            page["epoch"] = data["epoch"]
            page["best"] = data["epoch"] if data["is_best"] else page["best"]
    found = reload(job)
    assert page == {
        "status": found.status,
        "stop_requested": found.stop_requested,
        "epoch": found.current_epoch,
        "best": found.best_epoch,
    }


def test_epochs_received_together_are_stored_as_if_received_one_by_one(
    job: Job, running_attempt: Attempt
) -> None:
    reports = [
        attempts.EpochReport(epoch, {**METRICS, "val_loss": loss}, 0.5, best, f"/c/{epoch}")
        for epoch, loss, best in [(1, 3.0, True), (2, 2.0, True), (3, 5.0, False)]
    ]
    attempts.record_epochs(running_attempt, *reports)
    found = reload(job)
    assert (found.current_epoch, found.checkpoint_path) == (3, "/c/3")
    assert (found.best_epoch, found.best_value) == (2, 2.0)
    assert list(Epoch.objects.order_by("epoch").values_list("epoch", "is_best")) == [
        (1, True), (2, True), (3, False),
    ]  # fmt: skip
    events = JobEvent.objects.filter(event="training:progress").order_by("seq")
    assert [(event.data["epoch"], event.data["is_best"]) for event in events] == [
        (1, False), (1, True), (2, False), (2, True), (3, False),
    ]  # fmt: skip


def test_only_new_epochs_of_a_batch_are_added(job: Job, running_attempt: Attempt) -> None:
    reports = [
        attempts.EpochReport(epoch, METRICS, 0.5, epoch == 1, f"/c/{epoch}") for epoch in (1, 2, 3)
    ]
    attempts.record_epochs(running_attempt, *reports[:2])
    before = reload(job).seq
    attempts.record_epochs(running_attempt, *reports)
    assert (reload(job).current_epoch, reload(job).seq) == (3, before + 1)
    attempts.record_epochs(running_attempt, *reports[1:2])
    assert (reload(job).current_epoch, reload(job).seq) == (3, before + 1)
    assert reload(job).checkpoint_path == "/c/2"


def test_epochs_of_a_batch_may_already_be_stored_without_checkpoint(
    job: Job, running_attempt: Attempt
) -> None:
    paths = {1: "/c/1", 2: "", 3: "", 4: "/c/4"}
    reports = [
        attempts.EpochReport(epoch, METRICS, 0.5, epoch == 1, path) for epoch, path in paths.items()
    ]
    attempts.record_epochs(running_attempt, *reports[:3])
    assert (reload(job).current_epoch, reload(job).checkpoint_path) == (3, "/c/1")
    attempts.record_epochs(running_attempt, *reports[1:])  # once more, from the checkpoint before
    assert (reload(job).current_epoch, reload(job).checkpoint_path) == (4, "/c/4")
    assert Epoch.objects.filter(job=job).count() == 4
