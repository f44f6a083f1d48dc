"""The position in the newest status of a trainer (`training.jobs.trainer_status`)."""

from __future__ import annotations

from django.db import models

from training.models.jobs import Job


class TrainerPosition(models.Model):
    """Where the training was when it sent its newest status with a step."""

    job = models.OneToOneField(
        Job, models.CASCADE, primary_key=True, related_name="trainer_position"
    )
    attempt = models.PositiveIntegerField()
    step = models.BigIntegerField(null=True)
    epoch = models.FloatField(null=True)
    total_steps = models.BigIntegerField(null=True)
    # when a status without values was last announced
    announced_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"step {self.step} of {self.job_id}"
