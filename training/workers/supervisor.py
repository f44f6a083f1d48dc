"""One attempt from claim to end: starts the trainer and records its messages."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from realtime import events
from training.events import publisher
from training.jobs import attempts, directories, disk_use, points, results
from training.jobs.access import lost_access
from training.jobs.attempts import Attempt, EpochReport, SupersededError
from training.models import Job
from training.models.states import Stop
from training.programs import messages
from training.programs.command import MissingValueError
from training.programs.messages import EpochEnded, GenerateSpec, Message, RunSpec, TrainSpec
from training.programs.registry import get_program
from training.sweeps import scheduler
from training.workers.client_variables import client_variables
from training.workers.database_retry import retry_while_unavailable
from training.workers.disk_space import has_disk_space, is_disk_full
from training.workers.event_follower import POLL_SECONDS, EventFollower, tensorboard_variables
from training.workers.heartbeat import LeaseThread
from training.workers.message_groups import group_messages
from training.workers.run_monitor import RunMonitor
from training.workers.shared_flag import SharedFlag
from training.workers.trainer_process import TrainerProcess

# A requested stop is noticed within a tick; its query takes 0.2 ms.
TICK_SECONDS = 0.25
# Storing and publishing what a training reports costs milliseconds of processor time each time,
# which would be a large part of a short epoch. After a silence it is stored at once.
STORE_SECONDS = 0.1
STORE_SAMPLES_SECONDS = 3.0
# How long a worker that shuts down waits for its trainers' running epochs.
DRAIN_SECONDS = 8.0
MAX_NOTED_REASONS = 10
# How long an attempt waits at its end until all event files are read.
LAST_EVENTS_SECONDS = 60.0
# How long an attempt waits for disk space before it starts.
DISK_SPACE_SECONDS = 30.0
# Temporary errors when a process starts: no space, memory, processes or file descriptors.
TEMPORARY_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE,
}  # fmt: skip
_DISK_FULL = (
    f"The disk of the data folder was full for {DISK_SPACE_SECONDS:.0f} s. Free space; then resume "
    "the job."
)
_REST_NOT_READ = (
    "TensorBoard: the event files were not read to their end within "
    f"{LAST_EVENTS_SECONDS:.0f} s after the script had ended. Only another attempt reads the rest."
)
_READING_FAILED = (
    "TensorBoard: event files are no longer read because of an error in the worker; its log has "
    "the details."
)

Finish = Callable[[Attempt], None]
Result = TypeVar("Result")

log = logging.getLogger(__name__)
# Set when the worker shuts down: each attempt then releases its job. Forks inherit it.
shutting_down = SharedFlag()


def supervise(job_id: UUID, worker: str) -> bool:
    """Claim the job and run the attempt to its end; return False if it cannot be claimed."""
    claimed = None if shutting_down.is_set() else attempts.claim(job_id, worker)
    if claimed is None:
        return False
    attempt, job = claimed
    try:
        with LeaseThread(attempt):
            # The dataset may no longer be shared with the owner.
            reason = lost_access(job)
            finish: Finish = (
                partial(results.fail_attempt, message=reason)
                if reason
                else _run(attempt, job, worker)
            )
            retry_while_unavailable(partial(finish, attempt), give_up=shutting_down.is_set)
    except SupersededError as error:
        log.warning("Stopped: %s", error)
    # Unmeasured rows are measured later.
    with contextlib.suppress(DatabaseError, OSError):
        disk_use.record_job(job.pk)
    if job.sweep_id and not shutting_down.is_set():
        _start_next_trial(job.sweep_id)
    return True


def _start_next_trial(sweep_id: UUID) -> None:
    try:
        scheduler.advance_sweep(sweep_id)
    except Exception:
        log.exception("Cannot start the next trial of sweep %s; maintenance retries.", sweep_id)


def _run(attempt: Attempt, job: Job, worker: str) -> Finish:
    """Run the trainer to its end; return how the attempt finishes.

    The trainer has exited by then, so a job never has two trainers.
    """
    folder = directories.attempt_directory(job.pk, attempt.number)
    with contextlib.suppress(DatabaseError):  # a failed note must not fail the attempt
        _note_few_cores(attempt, job, worker)
    try:
        if finish := _wait_for_disk_space(attempt, worker, folder):
            return finish
        event_files = _event_follower(attempt, folder)
        tensorboard = tensorboard_variables(folder) if event_files else {}
        with (
            client_variables(job, folder, shutting_down.is_set) as variables,
            TrainerProcess(_run_spec(job, folder), folder, {**variables, **tensorboard}) as trainer,
            RunMonitor(attempt, trainer.pid, trainer.log) as monitor,
        ):
            if finish := _Supervision(attempt, trainer, worker, monitor, event_files).follow():
                return finish
            if message := monitor.over_limit():
                # A retry would fail again. With a higher limit, Resume continues from the
                # checkpoint.
                return partial(results.fail_attempt, message=message)
            if get_program(job.program).folder and trainer.exit_status() == 0:
                # A script without the SDK sends no final message; its exit status decides.
                return results.complete_program
            return partial(
                results.requeue_or_fail,
                actor=worker,
                cause="crashed",
                reason=trainer.exit_summary(monitor.out_of_memory()),
            )
    except MissingValueError as error:
        return partial(results.fail_attempt, message=str(error))
    except OSError as error:
        # The folder is not writable, the disk is full, or no process can be started.
        reason = f"The trainer could not be started: {error}."
        if error.errno in TEMPORARY_ERRORS:
            return partial(results.requeue_or_fail, actor=worker, cause="crashed", reason=reason)
        return partial(results.fail_attempt, message=reason)
    except SupersededError:
        raise
    except Exception as error:
        log.exception("The supervisor of job %s failed.", job.pk)
        reason = f"The supervisor failed: {type(error).__name__}: {error}."
        return partial(results.requeue_or_fail, actor=worker, cause="crashed", reason=reason)


def _wait_for_disk_space(attempt: Attempt, worker: str, folder: Path) -> Finish | None:
    """Wait while the disk is full; return how the attempt ends if it cannot start.

    A job that was interrupted by a full disk is requeued, and its next attempt waits here.
    """
    if has_disk_space(folder):
        return None
    retry = partial(retry_while_unavailable, give_up=shutting_down.is_set)
    retry(partial(attempts.record_note, attempt, worker, "The disk is full: waiting for space."))
    deadline = time.monotonic() + DISK_SPACE_SECONDS
    while not has_disk_space(folder):
        if shutting_down.is_set():
            return _released(worker)
        requested = retry(partial(attempts.requested_stop, attempt))
        if requested != Stop.NONE:
            return results.cancel_attempt if requested == Stop.CANCEL else results.pause_attempt
        if time.monotonic() >= deadline:
            return partial(results.fail_attempt, message=_DISK_FULL)
        time.sleep(TICK_SECONDS)
    return None


def _event_follower(attempt: Attempt, folder: Path) -> EventFollower | None:
    """None if the program has no folder, or its manifest disables event files."""
    program = get_program(attempt.program)
    if program.folder is None or program.tensorboard == "off":
        return None
    started_at = time.monotonic()

    def is_alone() -> bool:
        seconds = time.monotonic() - started_at
        return retry_while_unavailable(
            partial(attempts.has_been_alone, attempt, seconds), give_up=shutting_down.is_set
        )

    earlier = directories.earlier_attempts(attempt.job_id, attempt.number)
    return EventFollower(
        folder,
        program.folder,
        earlier,
        is_alone,
        steps_are_epochs=program.tensorboard == "epochs",
    )


def _note_few_cores(attempt: Attempt, job: Job, worker: str) -> None:
    """Explain why a job of more processes than cores takes minutes before its first epoch."""
    cores = os.cpu_count() or 1
    if job.processes > cores:
        attempts.record_note(
            attempt,
            worker,
            f"{job.processes} processes share {cores} cores. Startup and training are slower than "
            "with fewer processes.",
        )


def _run_spec(job: Job, folder: Path) -> RunSpec:
    if job.kind == Job.Kind.GENERATION:
        output = Path(settings.DATA_DIR) / "datasets" / f"{job.dataset_id}.safetensors"
        output.parent.mkdir(parents=True, exist_ok=True)
        return GenerateSpec(program=job.program, parameters=job.config, output=str(output))
    return TrainSpec(
        program=job.program,
        parameters=job.config,
        dataset=job.dataset.path if job.dataset else None,
        run_dir=str(folder),
        resume_from=job.checkpoint_path or None,
        earlier_runs=[str(path) for path in directories.earlier_attempts(job.pk, job.attempt)],
        threads=settings.TRAINER_THREADS or 0,
        processes=job.processes,
        needs=job.needs,
        init_from=job.init_from or None,
        job_id=str(job.pk),
        objective=get_program(job.program).objective,
    )


class _Supervision:
    """Follows a trainer: records its messages, passes on requested stops."""

    def __init__(
        self,
        attempt: Attempt,
        trainer: TrainerProcess,
        worker: str,
        monitor: RunMonitor,
        event_files: EventFollower | None,
    ) -> None:
        self._attempt, self._trainer, self._worker = attempt, trainer, worker
        self._monitor, self._event_files = monitor, event_files
        self._requested = Stop.NONE
        self._training = False
        self._noted: set[str] = set()
        self._drain_until: float | None = None
        self._next_poll = self._next_samples = self._next_event_files = time.monotonic()
        self._has_ended = False

    def follow(self) -> Finish | None:
        """Return how the attempt ends; None if the trainer exits without a final message."""
        finish = self._follow_messages()
        if self._event_files:
            if self._has_ended and self._event_files.has_files:
                self._trainer.exit_status()  # a writer may write the rest at its exit
            # After a stop, the next attempt reads what is left.
            seconds = LAST_EVENTS_SECONDS if self._has_ended else 0
            self._store_event_files(until=time.monotonic() + seconds)
            if self._has_ended and self._event_files and self._event_files.has_more:
                self._record_note(_REST_NOT_READ)
        return finish

    def _follow_messages(self) -> Finish | None:
        for received in self._trainer.messages(TICK_SECONDS, STORE_SECONDS):
            self._poll()
            if self._requested == Stop.CANCEL:
                return results.cancel_attempt  # nothing has to be kept
            if self._requested == Stop.PAUSE and not self._training:
                return results.pause_attempt  # before the first batch there is nothing to keep
            if shutting_down.is_set() and self._drain_expired():
                return _released(self._worker)
            for batch in group_messages(received):
                if finish := self._write(partial(self._record, batch)):
                    if shutting_down.is_set() and finish is results.pause_attempt:
                        return _released(self._worker)
                    self._has_ended = True
                    return finish
        self._has_ended = True
        return None

    def _poll(self) -> None:
        now = time.monotonic()
        if now < self._next_poll:
            return
        self._next_poll = now + TICK_SECONDS
        requested = self._write(partial(attempts.requested_stop, self._attempt))
        if now >= self._next_samples:
            self._next_samples = now + STORE_SAMPLES_SECONDS
            self._monitor.store_samples()
        if now >= self._next_event_files:
            self._next_event_files = now + POLL_SECONDS
            self._store_event_files()
        if requested != self._requested:
            self._requested = requested
            if requested == Stop.PAUSE:
                self._trainer.send(messages.PAUSE)

    def _store_event_files(self, until: float | None = None) -> None:
        """Store new events; with `until`, repeat until all are read or that time is reached."""
        while self._event_files:
            try:
                found = self._event_files.poll(self._trainer.pid, final=until is not None)
            except Exception:  # no file may end a training
                log.exception("Cannot read the event files of job %s.", self._attempt.job_id)
                self._event_files = None
                self._record_note(_READING_FAILED)
                return
            if found:
                record = partial(points.record_points, self._attempt, found)
                self._note_rejected(self._write(record))
            for note in self._event_files.take_notes():
                self._record_note(note)
            self._event_files.save()
            if until is None or not self._event_files.has_more or time.monotonic() >= until:
                return

    def _drain_expired(self) -> bool:
        """Give a running epoch time to end: the trainer pauses after its checkpoint."""
        if self._drain_until is None:
            self._drain_until = time.monotonic() + DRAIN_SECONDS
            self._trainer.send(messages.PAUSE)
        return not self._training or time.monotonic() >= self._drain_until

    def _write(self, write: Callable[[], Result]) -> Result:
        return retry_while_unavailable(write, give_up=shutting_down.is_set)

    def _record_note(self, text: str) -> None:
        self._write(partial(attempts.record_note, self._attempt, self._worker, text))

    def _note_rejected(self, rejected: Sequence[points.Rejection]) -> None:
        """Report points that cannot be stored, each reason once."""
        for reason in {one.reason for one in rejected} - self._noted:
            if len(self._noted) < MAX_NOTED_REASONS:
                self._noted.add(reason)
                self._record_note(f"Not stored: {reason}")

    def _record(self, batch: list[Message]) -> Finish | None:
        match batch[-1]:
            case messages.Started() as started:
                attempts.record_started(
                    self._attempt,
                    dataset_size=started.dataset_size,
                    train_samples=started.train_samples,
                    val_samples=started.val_samples,
                    resumed_from_epoch=started.resumed_from_epoch,
                    total_epochs=started.total_epochs,
                )
                self._training = True
            case messages.Note(message=text):
                attempts.record_note(self._attempt, self._worker, text)
            case messages.BatchProgress() as progress:
                publisher.send_ephemeral(
                    events.BatchProgress(
                        job_id=self._attempt.job_id,
                        epoch=progress.epoch,
                        batch=progress.batch,
                        total_batches=progress.total_batches,
                        loss=progress.loss,
                    )
                )
            case EpochEnded(epoch=newest):
                attempts.record_epochs(self._attempt, *map(_report, batch))
                directories.prune_checkpoints(self._attempt.job_id, self._attempt.number, newest)
            case messages.Points():
                found = _points(batch)
                if self._event_files:
                    self._event_files.exclude({name for point in found for name in point.values})
                self._note_rejected(points.record_points(self._attempt, found))
            case messages.Checkpointed(epoch=newest, path=path):
                points.record_checkpointed(self._attempt, path)
                directories.prune_checkpoints(self._attempt.job_id, self._attempt.number, newest)
            case messages.GenerationProgress(current=current, total=total, message=text):
                attempts.record_generation(self._attempt, current, total, text)
            case final:
                return _finish(final, self._worker)
        return None


def _released(worker: str) -> Finish:
    return partial(
        results.requeue_or_fail,
        actor=worker,
        cause="worker_stopped",
        reason="The worker was stopped.",
    )


def _finish(final: Message, worker: str) -> Finish | None:
    match final:
        case messages.TrainingCompleted(checkpoint_path=path, evaluation=evaluation):
            if evaluation is None:
                return partial(results.complete_program, checkpoint_path=path)
            return partial(results.complete_training, checkpoint_path=path, evaluation=evaluation)
        case messages.GenerationCompleted(path=path, content_hash=content_hash, facts=facts):
            return partial(
                results.complete_generation, path=path, content_hash=content_hash, facts=facts
            )
        case messages.Paused():
            return results.pause_attempt
        case messages.Failed(error_message=text) if is_disk_full(text):
            return partial(results.requeue_or_fail, actor=worker, cause="crashed", reason=text)
        case messages.Failed(error_message=text):
            return partial(results.fail_attempt, message=text)
    return None


def _points(batch: list[Message]) -> list[messages.Point]:
    return [point for one in batch if isinstance(one, messages.Points) for point in one.points]


def _report(message: Message) -> EpochReport:
    assert isinstance(message, EpochEnded)
    return EpochReport(
        epoch=message.epoch,
        metrics=message.metrics,
        seconds=message.seconds,
        is_best=message.is_best,
        checkpoint_path=message.checkpoint_path,
    )
