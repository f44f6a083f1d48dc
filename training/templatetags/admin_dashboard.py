"""The summary cards on the admin index page."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import reverse
from django.utils import timezone

from training.models import Job
from training.models.expressions import UNSENT
from training.models.states import Status
from training.workers import registry

register = template.Library()


@register.inclusion_tag("admin/_cards.html")
def cards() -> dict[str, Any]:
    day = timezone.now() - timedelta(days=1)
    failed = Job.objects.filter(status=Status.FAILED, finished_at__gte=day).count()
    unsent = Job.objects.filter(UNSENT).count()
    workers = Counter(worker.state for worker in registry.list_workers())
    workers_url = reverse("admin:training_worker_changelist")
    return {
        "cards": [
            _card(_count(Status.RUNNING), "running", _jobs(status__exact="running"), "accent"),
            _card(_count(Status.QUEUED), "queued", _jobs(status__exact="queued")),
            _card(failed, "failed (last 24 h)", _jobs(status__exact="failed"), failed and "bad"),
            _card(
                workers["busy"] + workers["idle"],
                f"workers online ({workers['idle']} idle)",
                workers_url,
            ),
            _card(workers["lost"], "workers offline", workers_url, workers["lost"] and "bad"),
            _card(unsent, "jobs with unsent events", _jobs(), unsent and "warn"),
        ]
    }


def _count(status: Status) -> int:
    return Job.objects.filter(status=status).count()


def _jobs(**only: str) -> str:
    return f"{reverse('admin:training_job_changelist')}?{urlencode(only)}"


def _card(count: int, label: str, link: str, tone: str | int = "") -> dict[str, Any]:
    return {"count": count, "label": label, "link": link, "tone": tone or ""}
