"""Worker processes, and claims on work that one process at a time does."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Worker(models.Model):
    """A registered worker; without heartbeats it counts as lost."""

    name = models.CharField(max_length=200, unique=True)
    slots = models.PositiveIntegerField()  # jobs that it runs at the same time
    has = models.JSONField(default=list)  # of cpu and gpu
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Claim(models.Model):
    """Work that one process at a time does; a claim that is not renewed expires."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.CharField(max_length=250)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"
