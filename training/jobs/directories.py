"""The folders of a job: one for each attempt, so that two attempts never meet."""

from __future__ import annotations

import contextlib
from pathlib import Path
from uuid import UUID

from django.conf import settings

from training.programs import checkpoint_files


def job_directory(job_id: UUID) -> Path:
    return Path(settings.DATA_DIR) / "jobs" / str(job_id)


def attempt_directory(job_id: UUID, attempt: int) -> Path:
    return job_directory(job_id) / f"attempt-{attempt:03d}"


def earlier_attempts(job_id: UUID, attempt: int) -> list[Path]:
    own = attempt_directory(job_id, attempt)
    return sorted(path for path in own.parent.glob("attempt-*") if path.name < own.name)


def prune_checkpoints(job_id: UUID, attempt: int, epoch: int) -> None:
    with contextlib.suppress(OSError):  # the next epoch tries again
        checkpoint_files.prune_older(
            attempt_directory(job_id, attempt), earlier_attempts(job_id, attempt), epoch
        )
