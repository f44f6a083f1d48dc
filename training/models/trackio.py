"""Data of Trackio clients besides projects, jobs and points (`training.trackio`)."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from training.models.jobs import Job


class TrackioRun(models.Model):
    """The name that the client has given a job: its own ID, or the names of project and run."""

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True, related_name="trackio_run")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False
    )
    run_id = models.CharField(max_length=500)
    noted = models.JSONField(default=list)  # why something was not stored, each reason once

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "run_id"], name="trackio_run_once_per_owner")
        ]

    def __str__(self) -> str:
        return f"run {self.run_id}"


class TrackioEntry(models.Model):
    """The `log_id` of an entry that a job has: the client may send the entry again much later."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="+", db_index=False)
    entry = models.UUIDField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "entry"], name="trackio_entry_once_per_job")
        ]

    def __str__(self) -> str:
        return f"entry {self.entry}"
