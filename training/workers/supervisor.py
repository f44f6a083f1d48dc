"""One attempt from claim to end: starts the trainer, records its messages, keeps the lease."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from django.conf import settings

from realtime import events
from training.events import publisher
from training.jobs import attempts, directories, results
from training.jobs.attempts import Attempt, EpochReport, SupersededError
from training.models import Job
from training.models.states import Stop
from training.programs import messages
from training.programs.messages import EpochEnded, GenerateSpec, Message, RunSpec, TrainSpec
from training.sweeps import scheduler
from training.workers.database_retry import retry_while_unavailable
from training.workers.trainer_process import TrainerProcess

# A requested stop is noticed within a tick; its query takes 0.2 ms.
TICK_SECONDS = 0.25
# How long a worker that shuts down waits for its trainers' running epochs.
DRAIN_SECONDS = 8.0

Finish = Callable[[Attempt], None]
Result = TypeVar("Result")

log = logging.getLogger(__name__)
# Set when the worker shuts down: each attempt then releases its job. Forks inherit it.
shutting_down = multiprocessing.Event()


def supervise(job_id: UUID, worker: str) -> bool:
    """Claim the job and run the attempt to its end; return False if it cannot be claimed."""
    claimed = None if shutting_down.is_set() else attempts.claim(job_id, worker)
    if claimed is None:
        return False
    attempt, job = claimed
    try:
        finish = _run(attempt, job, worker)
        retry_while_unavailable(partial(finish, attempt), give_up=shutting_down.is_set)
    except SupersededError as error:
        log.warning("Stopped: %s", error)
    if job.sweep_id and not shutting_down.is_set():
        _start_next_trial(job.sweep_id)
    return True


def _start_next_trial(sweep_id: UUID) -> None:
    """Start the next trial at once instead of in the next maintenance pass."""
    try:
        scheduler.advance_sweep(sweep_id)
    except Exception:
        log.exception("Cannot start the next trial of sweep %s; maintenance retries.", sweep_id)


def _run(attempt: Attempt, job: Job, worker: str) -> Finish:
    """Run the trainer to its end; return how the attempt finishes.

    The trainer has exited by then, so a job never has two trainers.
    """
    folder = directories.attempt_directory(job.pk, attempt.number)
    try:
        with TrainerProcess(_run_spec(job, folder), folder) as trainer:
            if finish := _Supervision(attempt, trainer, worker).follow():
                return finish
            return partial(
                results.requeue_or_fail,
                actor=worker,
                cause="crashed",
                reason=trainer.exit_summary(),
            )
    except OSError as error:
        # The folder is not writable, the disk is full, or no process can be started.
        return partial(results.fail_attempt, message=f"The trainer could not be started: {error}.")
    except SupersededError:
        raise
    except Exception as error:
        log.exception("The supervisor of job %s failed.", job.pk)
        reason = f"The supervisor failed: {type(error).__name__}: {error}."
        return partial(results.requeue_or_fail, actor=worker, cause="crashed", reason=reason)


def _run_spec(job: Job, folder: Path) -> RunSpec:
    if job.kind == Job.Kind.GENERATION:
        output = Path(settings.DATA_DIR) / "datasets" / f"{job.dataset_id}.safetensors"
        output.parent.mkdir(parents=True, exist_ok=True)
        return GenerateSpec(program=job.program, parameters=job.config, output=str(output))
    return TrainSpec(
        program=job.program,
        parameters=job.config,
        dataset=job.dataset.path,
        run_dir=str(folder),
        resume_from=job.checkpoint_path or None,
        earlier_runs=[str(path) for path in directories.earlier_attempts(job.pk, job.attempt)],
        threads=settings.TRAINER_THREADS or 0,
        processes=job.processes,
        needs=job.needs,
    )


def _batch_epochs(received: list[Message]) -> Iterator[list[Message]]:
    """Group consecutive epochs, to be stored in one transaction; yield others one by one."""
    for kind, group in groupby(received, key=type):
        batch = list(group)
        yield from [batch] if kind is EpochEnded else ([message] for message in batch)


class _Supervision:
    """Follows a trainer: records its messages, keeps the lease, passes on requested stops."""

    def __init__(self, attempt: Attempt, trainer: TrainerProcess, worker: str) -> None:
        self._attempt, self._trainer, self._worker = attempt, trainer, worker
        self._requested = Stop.NONE
        self._training = False
        self._drain_until: float | None = None
        self._next_poll = self._next_heartbeat = time.monotonic()

    def follow(self) -> Finish | None:
        """Return how the attempt ends; None if the trainer exits without a final message."""
        for received in self._trainer.messages(TICK_SECONDS):
            self._poll()
            if self._requested == Stop.CANCEL:
                return results.cancel_attempt  # nothing has to be kept
            if self._requested == Stop.PAUSE and not self._training:
                return results.pause_attempt  # before the first batch there is nothing to keep
            if shutting_down.is_set() and self._drain_expired():
                return self._release()
            for batch in _batch_epochs(received):
                if finish := self._write(partial(self._record, batch)):
                    if shutting_down.is_set() and finish is results.pause_attempt:
                        return self._release()
                    return finish
        return None

    def _poll(self) -> None:
        """Keep the lease and read the requested stop; pass a pause on to the trainer, once."""
        now = time.monotonic()
        if now < self._next_poll:
            return
        self._next_poll = now + TICK_SECONDS
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + settings.LEASE_SECONDS / 4
            requested = self._write(partial(attempts.heartbeat, self._attempt))
        else:
            requested = self._write(partial(attempts.requested_stop, self._attempt))
        if requested != self._requested:
            self._requested = requested
            if requested == Stop.PAUSE:
                self._trainer.send(messages.PAUSE)

    def _drain_expired(self) -> bool:
        """Give a running epoch time to end: the trainer pauses after its checkpoint."""
        if self._drain_until is None:
            self._drain_until = time.monotonic() + DRAIN_SECONDS
            self._trainer.send(messages.PAUSE)
        return not self._training or time.monotonic() >= self._drain_until

    def _release(self) -> Finish:
        return partial(
            results.requeue_or_fail,
            actor=self._worker,
            cause="worker_stopped",
            reason="The worker was stopped.",
        )

    def _write(self, write: Callable[[], Result]) -> Result:
        return retry_while_unavailable(write, give_up=shutting_down.is_set)

    def _record(self, batch: list[Message]) -> Finish | None:
        """Store a message or a batch of epochs; return how the attempt finishes if that ends it."""
        match batch[-1]:
            case messages.Started() as started:
                attempts.record_started(
                    self._attempt,
                    dataset_size=started.dataset_size,
                    train_samples=started.train_samples,
                    val_samples=started.val_samples,
                    resumed_from_epoch=started.resumed_from_epoch,
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
            case messages.GenerationProgress(current=current, total=total, message=text):
                attempts.record_generation(self._attempt, current, total, text)
            case messages.TrainingCompleted(checkpoint_path=path, evaluation=evaluation):
                return partial(
                    results.complete_training, checkpoint_path=path, evaluation=evaluation or {}
                )
            case messages.GenerationCompleted(path=path, content_hash=content_hash, facts=facts):
                return partial(
                    results.complete_generation, path=path, content_hash=content_hash, facts=facts
                )
            case messages.Paused():
                return results.pause_attempt
            case messages.Failed(error_message=text):
                return partial(results.fail_attempt, message=text)
        return None


def _report(message: Message) -> EpochReport:
    assert isinstance(message, EpochEnded)
    return EpochReport(
        epoch=message.epoch,
        metrics=message.metrics,
        seconds=message.seconds,
        is_best=message.is_best,
        checkpoint_path=message.checkpoint_path,
    )
