"""One attempt from claim to end: starts the trainer, records its lines, keeps the lease."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from realtime.events import BatchProgress
from training.events import publisher
from training.jobs import attempts, directories, results
from training.jobs.attempts import Attempt, EpochReport, SupersededError
from training.models import Job
from training.models.states import Stop
from training.sweeps import scheduler
from training.workers.database_retry import retry_while_unavailable
from training.workers.trainer_process import TrainerProcess

# A pause or a cancel is heard within a tick; a query costs a fifth of a millisecond.
TICK_SECONDS = 0.25
# How long a worker that is told to end waits for its trainers' epochs.
DRAIN_SECONDS = 8.0

Finish = Callable[[Attempt], None]

log = logging.getLogger(__name__)
# Set when the worker is about to end: each attempt then hands its job back (forks inherit it).
shutting_down = multiprocessing.Event()


def supervise(job_id: UUID, worker: str) -> bool:
    """Claim the job and see it through; False at once where it is not to be had."""
    claimed = None if shutting_down.is_set() else attempts.claim(job_id, worker)
    if claimed is None:
        return False
    attempt, job = claimed
    try:
        end = _run(attempt, job, worker)
        retry_while_unavailable(partial(end, attempt), give_up=shutting_down.is_set)
    except SupersededError as error:
        log.warning("Stopped: %s", error)
    if job.sweep_id and not shutting_down.is_set():
        _start_next_trial(job.sweep_id)
    return True


def _start_next_trial(sweep_id: UUID) -> None:
    """At once, where a keeper would come to it within its next round."""
    try:
        scheduler.advance_sweep(sweep_id)
    except Exception:
        log.exception("Sweep %s waits for the keeper.", sweep_id)


def _run(attempt: Attempt, job: Job, worker: str) -> Finish:
    """How the attempt ends; by then its trainer is gone, so that a job never has two."""
    folder = directories.attempt_directory(job.pk, attempt.number)
    try:
        with TrainerProcess(*_run_spec(job, folder), folder=folder) as trainer:
            if end := _Supervision(attempt, trainer, worker).follow():
                return end
            return partial(
                results.requeue_or_fail, actor=worker, cause="crashed", reason=trainer.obituary()
            )
    except OSError as error:
        # The folder cannot be written, the disk is full, no process can be started.
        return partial(results.fail_attempt, message=f"The trainer could not be started: {error}.")
    except SupersededError:
        raise
    except Exception as error:
        log.exception("The attempt at job %s failed.", job.pk)
        reason = f"The supervisor failed: {type(error).__name__}: {error}."
        return partial(results.requeue_or_fail, actor=worker, cause="crashed", reason=reason)


def _run_spec(job: Job, folder: Path) -> tuple[str, dict[str, Any]]:
    """What the trainer is to do, and with what."""
    if job.kind == Job.Kind.GENERATION:
        output = Path(settings.DATA_DIR) / "datasets" / f"{job.dataset_id}.safetensors"
        output.parent.mkdir(parents=True, exist_ok=True)
        return "generate", {"config": job.config, "output": str(output)}
    return "train", {
        "dataset": job.dataset.path,
        "run_dir": str(folder),
        "config": job.config,
        "needs": job.needs,
        "processes": job.processes,
        "resume_from": job.checkpoint_path or None,
        "earlier_runs": [str(path) for path in directories.earlier_attempts(job.pk, job.attempt)],
        "threads": settings.TRAINER_THREADS,
    }


def _batch_epochs(lines: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Epochs that follow one another are stored in one go, all else line by line."""
    for kind, group in groupby(lines, key=itemgetter("type")):
        some = list(group)
        yield from [some] if kind == "epoch" else ([one] for one in some)


class _Supervision:
    """Follows a trainer: records what it says, keeps the lease, hears what was asked."""

    def __init__(self, attempt: Attempt, trainer: TrainerProcess, worker: str) -> None:
        self._attempt, self._trainer, self._worker = attempt, trainer, worker
        self._asked = Stop.NONE
        self._at_work = False
        self._leave_by: float | None = None
        self._next_look = self._next_beat = time.monotonic()

    def follow(self) -> Finish | None:
        """Until it is clear how the attempt ends; None where the trainer never says so."""
        for lines in self._trainer.lines(TICK_SECONDS):
            self._look()
            if self._asked == Stop.CANCEL:
                return results.cancel_attempt  # there is nothing to be kept
            if self._asked == Stop.PAUSE and not self._at_work:
                return results.pause_attempt  # nor is there before the first batch
            if shutting_down.is_set() and self._must_leave():
                return self._hand_back()
            for some in _batch_epochs(lines):
                if end := self._write(partial(self._record, some)):
                    return (
                        self._hand_back()
                        if shutting_down.is_set() and end is results.pause_attempt
                        else end
                    )
        return None

    def _look(self) -> None:
        """Keep the lease and read what was asked; pass a pause on, once."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + TICK_SECONDS
        if now >= self._next_beat:
            self._next_beat = now + settings.LEASE_SECONDS / 4
            asked = self._write(partial(attempts.heartbeat, self._attempt))
        else:
            asked = self._write(partial(attempts.requested_stop, self._attempt))
        if asked != self._asked:
            self._asked = asked
            if asked == Stop.PAUSE:
                self._trainer.ask(asked)

    def _must_leave(self) -> bool:
        """An epoch that is nearly done is waited for: the trainer pauses after its checkpoint."""
        if self._leave_by is None:
            self._leave_by = time.monotonic() + DRAIN_SECONDS
            self._trainer.ask(Stop.PAUSE)
        return not self._at_work or time.monotonic() >= self._leave_by

    def _hand_back(self) -> Finish:
        return partial(
            results.requeue_or_fail,
            actor=self._worker,
            cause="worker_stopped",
            reason="The worker was stopped.",
        )

    def _write(self, write: Callable[[], Any]) -> Any:
        return retry_while_unavailable(write, give_up=shutting_down.is_set)

    def _record(self, lines: list[dict[str, Any]]) -> Finish | None:
        """Write what the trainer said to the rows; its last line says how it ended."""
        line = lines[-1]
        kind, fields = line["type"], {name: line[name] for name in line if name != "type"}
        match kind:
            case "started":
                attempts.record_started(self._attempt, **fields)
                self._at_work = True
            case "note":
                attempts.record_note(self._attempt, self._worker, **fields)
            case "batch":
                publisher.send_ephemeral(BatchProgress(job_id=self._attempt.job_id, **fields))
            case "epoch":
                names = EpochReport._fields
                reports = [EpochReport(*(one[name] for name in names)) for one in lines]
                attempts.record_epochs(self._attempt, *reports)
                directories.prune_checkpoints(
                    self._attempt.job_id, self._attempt.number, fields["epoch"]
                )
            case "generation":
                attempts.record_generation(self._attempt, **fields)
            case "completed" if "evaluation" in fields:
                return partial(results.complete_training, **fields)
            case "completed":
                return partial(results.complete_generation, **fields)
            case "paused":
                return results.pause_attempt
            case "failed":
                return partial(results.fail_attempt, message=fields["error_message"])
            case _:
                raise ValueError(f"The trainer wrote a line of an unknown type: {kind!r}")
        return None
