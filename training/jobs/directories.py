"""The folders of a job: one per attempt, so that attempts never share a folder."""

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
    folders = (path for path in own.parent.glob("attempt-*") if attempt_number(path) < attempt)
    return sorted(folders, key=attempt_number)


def attempt_number(folder: Path) -> int:
    """As a number, because attempt-1000 is less than attempt-999 as a text."""
    digits = folder.name.partition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def prune_checkpoints(job_id: UUID, attempt: int, epoch: int) -> None:
    with contextlib.suppress(OSError):  # the next epoch tries again
        checkpoint_files.prune_older(
            attempt_directory(job_id, attempt), earlier_attempts(job_id, attempt), epoch
        )
