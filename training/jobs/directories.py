"""The folders of a job: one for each attempt, so that two attempts never meet."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from uuid import UUID

from django.conf import settings

from training.programs import checkpoint_files


def job_directory(job_id: UUID) -> Path:
    """Everything that the job's trainers wrote."""
    return Path(settings.DATA_DIR) / "jobs" / str(job_id)


def attempt_directory(job_id: UUID, attempt: int) -> Path:
    return job_directory(job_id) / f"attempt-{attempt:03d}"


def earlier_attempts(job_id: UUID, attempt: int) -> list[Path]:
    """The folders of the attempts before this one, the oldest first."""
    own = attempt_directory(job_id, attempt)
    return sorted(one for one in own.parent.glob("attempt-*") if one.name < own.name)


def prune_checkpoints(job_id: UUID, attempt: int, epoch: int) -> None:
    """Delete the checkpoints that are no longer needed once `epoch` is stored."""
    with contextlib.suppress(OSError):  # the next epoch tries again
        checkpoint_files.prune_older(
            attempt_directory(job_id, attempt), earlier_attempts(job_id, attempt), epoch
        )


def remove_job(job_id: UUID) -> None:
    """The job is forgotten, and so is all of this."""
    shutil.rmtree(job_directory(job_id), ignore_errors=True)


def remove_dataset(dataset_id: UUID) -> None:
    """What a generation that was cancelled had made so far."""
    for path in (Path(settings.DATA_DIR) / "datasets").glob(f"{dataset_id}.*"):
        path.unlink(missing_ok=True)
