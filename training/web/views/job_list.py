"""The list of jobs, the newest first, each row moving as its job does."""

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
from training.jobs import status as standing
from training.models import Dataset, Epoch, Job
from training.models.states import Status
from training.web.charts.charts import sparkline
from training.workers import registry

PAGE = 30
SPARKLINE_JOBS = 24


@require_safe
@login_required
def job_list(request: HttpRequest) -> HttpResponse:
    """All jobs; `status`, `search` and `owner` narrow them, `before` goes on from a page's end."""
    user = signed_in_user(request)
    mine = visible_to(Job.objects.select_related("dataset", "owner", "team"), user)
    status, search = request.GET.get("status", ""), request.GET.get("search", "").strip()
    found = _searched(mine, search)
    counts = _counts(found)
    if status in Status.values:
        found = found.filter(status=status)
    rows = list(_older(found, request.GET.get("before", ""))[: PAGE + 1])
    more, rows = len(rows) > PAGE, rows[:PAGE]
    return render(
        request,
        "training/jobs.html",
        {
            "rows": [_row(job, sparks) for job, sparks in with_sparklines(rows)],
            "status": status,
            "search": search,
            "chips": [
                (one.value, standing.STATUS_LABELS[one], counts.get(one, 0)) for one in Status
            ],
            "crew": registry.list_workers(),
            "total": sum(counts.values()),
            "before": _cursor(rows[-1]) if more else "",
            "is_first": "before" not in request.GET,
            "any_dataset": visible_to(Dataset.objects.filter(status="ready"), user).first(),
        },
    )


def _searched(jobs: QuerySet[Job], search: str) -> QuerySet[Job]:
    """By name, dataset, owner, or the beginning of the id."""
    if not search:
        return jobs
    wanted = (
        Q(name__icontains=search)
        | Q(dataset__name__icontains=search)
        | Q(owner__username__iexact=search)
    )
    with suppress(ValueError):
        wanted |= Q(pk=uuid.UUID(search))
    return jobs.filter(wanted)


def _counts(jobs: QuerySet[Job]) -> dict[str, int]:
    rows = jobs.order_by().values_list("status").annotate(count=Count("pk"))
    return dict(rows.values_list("status", "count"))


def _cursor(job: Job) -> str:
    return f"{job.created_at.isoformat()}~{job.pk}"


def _older(jobs: QuerySet[Job], before: str) -> QuerySet[Job]:
    """What comes after the cursor; from the start where it says nothing."""
    try:
        moment, pk = before.split("~")
        at, last = datetime.fromisoformat(moment), uuid.UUID(pk)
    except ValueError:
        return jobs
    return jobs.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=last))


def _row(job: Job, sparks: list[float | None]) -> dict[str, Any]:
    return {
        "job": job,
        "state": job.display_status,
        "spark": sparkline_of(sparks),
        "sparks": ",".join("" if one is None else f"{one:.6g}" for one in sparks),
    }


def sparkline_of(values: list[float | None]) -> SafeString:
    return sparkline(values, "Validation RMSE over the epochs")


def with_sparklines(jobs: Sequence[Job]) -> list[tuple[Job, list[float | None]]]:
    """Each with the validation RMSE at evenly spread epochs: one query for all."""
    wanted = Q(pk=None)
    for job in jobs:
        if job.current_epoch:
            wanted |= Q(job=job, epoch__in=_spread(job.current_epoch))
    found: defaultdict[uuid.UUID, list[float | None]] = defaultdict(list)
    for pk, rmse in Epoch.objects.filter(wanted).values_list("job_id", "metrics__val_rmse"):
        found[pk].append(rmse)
    return [(job, found[job.pk]) for job in jobs]


def _spread(last: int) -> set[int]:
    count = min(last, SPARKLINE_JOBS)
    return {1 + round(index * (last - 1) / max(count - 1, 1)) for index in range(count)}
