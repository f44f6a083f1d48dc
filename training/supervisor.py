"""One attempt from claim to end: starts the trainer, records its lines, keeps the lease."""

from __future__ import annotations

import logging
import multiprocessing
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from realtime.events import BatchProgress
from training import attempt as attempts
from training import outcome, publishing
from training.attempt import Attempt, Superseded
from training.models import Job
from training.states import Stop
from training.trainer import Trainer

# A pause or a cancel is heard within a tick; a query costs a fifth of a millisecond.
TICK_SECONDS = 0.25

log = logging.getLogger(__name__)
# Set when the worker is about to end: each attempt then hands its job back (forks inherit it).
leaving = multiprocessing.Event()


def supervise(job_id: UUID, worker: str) -> None:
    """Claim the job and see it through; returns at once where it is not to be had."""
    claimed = None if leaving.is_set() else attempts.claim(job_id, worker)
    if claimed is None:
        return
    attempt, job = claimed
    try:
        _run(attempt, job, worker)
    except Superseded as error:
        log.warning("Stopped: %s", error)
    except OSError as error:
        # The folder cannot be written, the disk is full, no process can be started.
        outcome.fail(attempt, f"The trainer could not be started: {error}.")


def _run(attempt: Attempt, job: Job, worker: str) -> None:
    folder = attempts.run_folder(attempt)
    with Trainer(*_order(job, folder), folder=folder) as trainer:
        if _follow(attempt, trainer):
            return
        if leaving.is_set():
            outcome.interrupted(attempt, worker, "The worker was stopped.", crashed=False)
            return
        trainer.end()
        outcome.interrupted(attempt, worker, trainer.obituary(), crashed=True)


def _order(job: Job, folder: Path) -> tuple[str, dict[str, Any]]:
    """What the trainer is to do, and with what."""
    if job.kind == Job.Kind.GENERATION:
        output = Path(settings.DATA_DIR) / "datasets" / f"{job.dataset_id}.safetensors"
        output.parent.mkdir(parents=True, exist_ok=True)
        return "generate", {"config": job.config, "output": str(output)}
    return "train", {
        "dataset": job.dataset.path,
        "run_dir": str(folder),
        "config": job.config,
        "resume_from": job.checkpoint_path or None,
        "threads": settings.TRAINER_THREADS,
    }


def _follow(attempt: Attempt, trainer: Trainer) -> bool:
    """Record what the trainer says until it has said how it ended; False if it never does."""
    watch = _Watch(attempt, trainer)
    for line in trainer.lines(TICK_SECONDS):
        if leaving.is_set():
            return False
        watch.look()
        if line is not None and _record(attempt, line):
            return True
    return False


class _Watch:
    """Keeps the lease and passes on what was asked, once."""

    def __init__(self, attempt: Attempt, trainer: Trainer) -> None:
        self._attempt, self._trainer = attempt, trainer
        self._asked = Stop.NONE
        self._next_look = self._next_beat = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + TICK_SECONDS
        if now >= self._next_beat:
            self._next_beat = now + settings.LEASE_SECONDS / 4
            asked = attempts.beat(self._attempt)
        else:
            asked = attempts.stop_asked(self._attempt)
        if asked != self._asked:
            self._asked = asked
            self._trainer.ask(asked)


def _record(attempt: Attempt, line: dict[str, Any]) -> bool:
    """Write one line of the trainer to the rows; True for the last one."""
    match line.pop("type"):
        case "started":
            attempts.record_started(attempt, **line)
        case "batch":
            publishing.send_fleeting(BatchProgress(job_id=attempt.job_id, **line))
        case "epoch":
            # Which epoch was best so far follows from the rows.
            kept = ("epoch", "metrics", "seconds", "is_best", "checkpoint_path")
            attempts.record_epoch(attempt, **{name: line[name] for name in kept})
        case "generation":
            attempts.record_generation(attempt, **line)
        case "completed" if "evaluation" in line:
            outcome.complete(attempt, line["checkpoint_path"], line["evaluation"])
            return True
        case "completed":
            outcome.complete_generation(attempt, **line)
            return True
        case "paused":
            outcome.paused(attempt)
            return True
        case "cancelled":
            outcome.cancelled(attempt)
            return True
        case "failed":
            outcome.fail(attempt, line["error_message"])
            return True
        case unknown:
            raise ValueError(f"The trainer wrote a line of an unknown type: {unknown!r}")
    return False
