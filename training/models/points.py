"""The points of a job (`training.points`), and which batches a reporter has delivered."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from training.models.jobs import Job


class PointIndex(models.Model):
    """The series of a job by number, and the points that wait for compaction.

    Each append updates the row, so appends of one job take place one after the other.
    """

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True, related_name="point_index")
    names = models.JSONField(default=list)  # a series' number is the position of its name
    # The newest step and value of each series: int64 [S], then float64 [S].
    newest = models.BinaryField(default=bytes)
    # The time of each of those: float64 [S]. Shorter where the points are of an earlier version.
    newest_times = models.BinaryField(default=bytes)
    revision = models.PositiveIntegerField(default=0)  # counts appends
    pending_batches = models.PositiveIntegerField(default=0)
    pending_values = models.PositiveIntegerField(default=0)
    # When the last progress event without a new epoch was written, and whether newer values wait.
    announced_at = models.DateTimeField(null=True)
    unannounced = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{len(self.names)} series of {self.job_id}"


class PointBatch(models.Model):
    """Appended values that are not yet in blocks (`training.points.encoding.encode_batch`)."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="+")
    data = models.BinaryField()

    def __str__(self) -> str:
        return f"batch {self.pk}"


class PointBlock(models.Model):
    """Consecutive steps of one series; the blocks of a series do not overlap."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="+", db_index=False)
    series = models.PositiveIntegerField()
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    count = models.PositiveIntegerField()
    # A few of its points, extremes included, to draw a long series without reading `data`.
    outline = models.BinaryField()
    data = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["job", "series", "first_step"], name="block_once_per_first_step"
            )
        ]

    def __str__(self) -> str:
        return f"series {self.series}, steps {self.first_step} to {self.last_step}"


class ReportedBatches(models.Model):
    """Numbers of batches that a client of a reported job has delivered, as ranges."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="+", db_index=False)
    client = models.CharField(max_length=100)
    ranges = models.JSONField()  # [[first, last], …], in the order of arrival
    first = models.BigIntegerField()  # the smallest of them
    last = models.BigIntegerField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["job", "client", "last"], name="batches_of_client")
        ]

    def __str__(self) -> str:
        return f"batches {self.first} to {self.last} of {self.client}"
