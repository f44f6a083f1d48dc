"""The list of jobs, newest first."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from training.accounts.permissions import signed_in_user, visible_to
from training.jobs import status as job_status
from training.models import Dataset, Epoch, Job
from training.models.states import Status
from training.programs.registry import get_program
from training.web.charts.line_charts import sparkline
from training.workers import registry

PAGE = 30
SPARKLINE_POINTS = 24


@require_safe
@login_required
def job_list(request: HttpRequest) -> HttpResponse:
    """`status` and `search` filter the jobs; `before` is the cursor of the previous page."""
    user = signed_in_user(request)
    visible_jobs = visible_to(Job.objects.select_related("dataset", "owner", "team"), user)
    status, search = request.GET.get("status", ""), request.GET.get("search", "").strip()
    found = _search(visible_jobs, search)
    counts = _count_by_status(found)
    if status in Status.values:
        found = found.filter(status=status)
    rows = list(_after_cursor(found, request.GET.get("before", ""))[: PAGE + 1])
    more, rows = len(rows) > PAGE, rows[:PAGE]
    return render(
        request,
        "training/jobs.html",
        {
            "rows": [_row(job, headline_values) for job, headline_values in with_sparklines(rows)],
            "status": status,
            "search": search,
            "chips": [
                (one.value, job_status.STATUS_LABELS[one], counts.get(one, 0)) for one in Status
            ],
            "workers": registry.list_workers(),
            "total": sum(counts.values()),
            "before": _cursor(rows[-1]) if more else "",
            "is_first": "before" not in request.GET,
            "any_dataset": visible_to(Dataset.objects.filter(status="ready"), user).first(),
        },
    )


def _search(jobs: QuerySet[Job], search: str) -> QuerySet[Job]:
    """Match name, dataset name, owner or the whole ID."""
    if not search:
        return jobs
    matches = (
        Q(name__icontains=search)
        | Q(dataset__name__icontains=search)
        | Q(owner__username__iexact=search)
    )
    with suppress(ValueError):
        matches |= Q(pk=uuid.UUID(search))
    return jobs.filter(matches)


def _count_by_status(jobs: QuerySet[Job]) -> dict[str, int]:
    rows = jobs.order_by().values_list("status").annotate(count=Count("pk"))
    return dict(rows.values_list("status", "count"))


def _cursor(job: Job) -> str:
    return f"{job.created_at.isoformat()}~{job.pk}"


def _after_cursor(jobs: QuerySet[Job], before: str) -> QuerySet[Job]:
    """The jobs older than the cursor; all jobs if the cursor is empty or invalid."""
    try:
        moment, pk = before.split("~")
        at, last = datetime.fromisoformat(moment), uuid.UUID(pk)
    except ValueError:
        return jobs
    return jobs.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=last))


def _row(job: Job, headline_values: list[float | None]) -> dict[str, Any]:
    return {
        "job": job,
        "state": job.display_status,
        "sparkline": sparkline_of(job, headline_values),
        "sparkline_values": ",".join(
            "" if one is None else f"{one:.6g}" for one in headline_values
        ),
    }


def sparkline_of(job: Job, values: list[float | None]) -> SafeString:
    return sparkline(values, f"{get_program(job.program).headline_metric.title} by epoch")


def with_sparklines(jobs: Sequence[Job]) -> list[tuple[Job, list[float | None]]]:
    """Each job with its headline metric at evenly spaced epochs, in one query per program."""
    found: defaultdict[uuid.UUID, list[float | None]] = defaultdict(list)
    for program in {job.program for job in jobs}:
        sampled_epochs = Q(pk=None)
        for job in jobs:
            if job.program == program and job.current_epoch:
                sampled_epochs |= Q(job=job, epoch__in=_evenly_spaced(job.current_epoch))
        rows = Epoch.objects.filter(sampled_epochs)
        name = get_program(program).headline
        for pk, value in rows.values_list("job_id", f"metrics__{name}"):
            found[pk].append(value)
    return [(job, found[job.pk]) for job in jobs]


def _evenly_spaced(last: int) -> set[int]:
    count = min(last, SPARKLINE_POINTS)
    return {1 + round(index * (last - 1) / max(count - 1, 1)) for index in range(count)}
