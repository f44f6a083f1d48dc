"""The summary cards on the admin index page."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django import template
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from training.models import Job, RetentionState
from training.models.expressions import UNSENT
from training.models.states import Status
from training.web.formatting import format_size
from training.workers import registry

register = template.Library()
MIN_FREE = 0.1  # of the disk; the alert DiskAlmostFull has the same threshold


@dataclass(frozen=True, slots=True)
class Card:
    count: int | str
    label: str
    link: str
    tone: str  # CSS class


@register.inclusion_tag("admin/_cards.html")
def cards() -> dict[str, list[Card]]:
    day = timezone.now() - timedelta(days=1)
    failed = Job.objects.filter(status=Status.FAILED, finished_at__gte=day).count()
    unsent = Job.objects.filter(UNSENT).count()
    workers = Counter(worker.state for worker in registry.list_workers())
    workers_url = reverse("admin:training_worker_changelist")
    return {
        "cards": [
            Card(_count(Status.RUNNING), "running", _jobs(status__exact="running"), "accent"),
            Card(_count(Status.QUEUED), "queued", _jobs(status__exact="queued"), ""),
            Card(
                failed,
                "failed (last 24 h)",
                _jobs(status__exact="failed"),
                "bad" if failed else "",
            ),
            Card(
                workers["busy"] + workers["idle"],
                f"workers online ({workers['idle']} idle)",
                workers_url,
                "",
            ),
            Card(
                workers["lost"],
                "workers offline",
                workers_url,
                "bad" if workers["lost"] else "",
            ),
            *_disk(),
            Card(unsent, "jobs with unsent events", _jobs(), "warn" if unsent else ""),
        ]
    }


def _disk() -> list[Card]:
    state = RetentionState.objects.filter(finished_at__isnull=False).first()
    sizes = state.sizes if state else {}
    disk = shutil.disk_usage(settings.DATA_DIR)
    free = Card(
        format_size(disk.free), "free", _jobs(), "bad" if disk.free < MIN_FREE * disk.total else ""
    )
    labels = {"jobs": ("jobs", _jobs()), "datasets": ("datasets", _datasets()),
              "database": ("database", _jobs())}  # fmt: skip
    return [
        *(Card(format_size(sizes[kind]), f"{label} on disk", link, "")
          for kind, (label, link) in labels.items() if kind in sizes),
        free,
    ]  # fmt: skip


def _datasets() -> str:
    return reverse("admin:training_dataset_changelist")


def _count(status: Status) -> int:
    return Job.objects.filter(status=status).count()


def _jobs(**only: str) -> str:
    return f"{reverse('admin:training_job_changelist')}?{urlencode(only)}"
