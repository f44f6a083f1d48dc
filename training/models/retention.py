"""Rows of retention: packed events, files to be removed, and the last run."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from training.models.jobs import Job


class EventBlock(models.Model):
    """Frequent events of an ended job, compressed (`training.events.packing`).

    A block without data stands for events that were deleted, up to `last_seq`.
    """

    job = models.ForeignKey(Job, models.CASCADE, related_name="event_blocks", db_index=False)
    first_seq = models.PositiveIntegerField()
    last_seq = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "first_seq"], name="event_block_once_per_seq")
        ]

    def __str__(self) -> str:
        return f"events {self.first_seq} to {self.last_seq}"


class FileRemoval(models.Model):
    """Files of a deleted row (`training.storage.file_removal`)."""

    path = models.CharField(max_length=200)  # below the data folder; a pattern
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.path


class RetentionState(models.Model):
    """One row: which process applies the policy, and what the last complete run found."""

    # Also in a file of the data folder: files without a row are removed only where both agree.
    installation = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    sizes = models.JSONField(default=dict)  # bytes by what uses them

    def __str__(self) -> str:
        return f"retention, last run {self.finished_at}"
