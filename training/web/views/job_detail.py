"""The page of a job, its actions, and its epochs as pages and as CSV."""

from __future__ import annotations

import re
import uuid

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_safe

from training.accounts import audit
from training.accounts.limits import LimitReachedError
from training.accounts.permissions import Owned, signed_in_user, visible_to
from training.api.exports import tabular
from training.api.held_places import count_download
from training.jobs import artifacts
from training.models import Dataset, Job, Project, Sweep
from training.programs.registry import describe_program
from training.request_thread import stream_pages
from training.storage import disk_usage
from training.web.actions import JOB_ACTIONS, perform_action
from training.web.metric_rows import metric_rows
from training.web.sign_in import post_only, sign_in_required
from training.web.views.job_page import Snapshot, epoch_columns, epochs_before, observed_program
from training.web.views.responses import redirect_see_other, safe_next_url
from training.web.views.sharing import sharing

EPOCHS_PAGE = 500
METRICS_PAGE = 2000
MAX_ARTIFACTS = 200
# The imports of job.js, preloaded so that the browser does not discover them one by one.
MODULES = [
    f"training/{name}.js"
    for name in ("base_path", "formatting", "page", "live", "columns", "chart", "series",
                 "chart_view", "job_charts", "progress", "epochs", "job_actions", "artifacts",
                 "ansi", "log_panel", "system_charts")
]  # fmt: skip


def _job(request: HttpRequest, pk: uuid.UUID) -> Job:
    rows = Job.objects.select_related("dataset", "owner", "project", "team")
    return get_object_or_404(visible_to(rows, signed_in_user(request)), pk=pk)


def _may_open(request: HttpRequest, rows: QuerySet[Owned], pk: uuid.UUID | None) -> bool:
    """Whether the user can view what a job belongs to; access to the job does not imply it."""
    if pk is None:
        return False
    return visible_to(rows, signed_in_user(request)).filter(pk=pk).exists()


@require_safe
@sign_in_required
def job(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = _job(request, pk)
    snapshot = Snapshot.of(found, signed_in_user(request))
    chosen = request.GET.get("attempt", "")
    context = {
        **snapshot.for_template(int(chosen) if re.fullmatch("[0-9]{1,9}", chosen) else None),
        **sharing(found, signed_in_user(request)),
        "disk_bytes": disk_usage.job_bytes(found.pk),
        "snapshot": snapshot.for_script(),
        "modules": MODULES,
        "may_open_project": _may_open(request, Project.objects.all(), found.project_id),
        "may_open_dataset": _may_open(request, Dataset.objects.all(), found.dataset_id),
        "may_open_sweep": _may_open(request, Sweep.objects.all(), found.sweep_id),
        # The same list that artifacts.js shows, up to MAX_ARTIFACTS files.
        "artifacts": artifacts.list_artifacts(found)[:MAX_ARTIFACTS],
        "has_artifacts": bool(safe_next_url(reverse("job-artifacts", args=[pk]))),
    }
    return render(request, "training/job.html", context)


@post_only
@sign_in_required
def job_action(request: HttpRequest, pk: uuid.UUID, action: str) -> HttpResponse:
    found = _job(request, pk)
    perform_action(request, found, JOB_ACTIONS[action])
    return redirect_see_other("job", found.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def cancel(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask for confirmation on GET, since a cancelled job cannot be resumed; cancel on POST."""
    if request.method == "POST":
        return job_action(request, pk, "cancel")
    return render(request, "training/job_cancel.html", {"job": _job(request, pk)})


@require_safe
@sign_in_required
def epoch_log(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = _job(request, pk)
    before = _epoch_number(request.GET.get("before", "")) or found.current_epoch + 1
    rows = epochs_before(found, before, EPOCHS_PAGE)
    older = rows[-1].epoch if rows and rows[-1].epoch > 1 else None
    context = {
        "job": found, "rows": rows, "older": older, "first": before > found.current_epoch,
        "table": epoch_columns(describe_program(found.program)),
    }  # fmt: skip
    return render(request, "training/epochs.html", context)


@require_safe
@sign_in_required
def metric_page(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = _job(request, pk)
    program = observed_program(found)
    context = {
        "job": found,
        "metric_rows": metric_rows(found, program, METRICS_PAGE),
        "metrics_left": max(0, len(program.metrics) - METRICS_PAGE),
    }
    return render(request, "training/metrics.html", context)


def _epoch_number(text: str) -> int | None:
    """A number of at most ten digits; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


@require_safe
@sign_in_required
def epochs_csv(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    found = _job(request, pk)
    response = StreamingHttpResponse(
        stream_pages(request, tabular.epochs_csv(found)), content_type="text/csv; charset=utf-8"
    )
    name = f"{slugify(str(found)) or 'job'}-epochs.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    # GZipMiddleware compresses each page separately, and many clients decode only the first.
    response["Content-Encoding"] = "identity"
    try:
        download = count_download(signed_in_user(request), response)
    except LimitReachedError as error:
        messages.warning(request, str(error))
        return redirect_see_other("job", found.pk)
    audit.record("download", found, export="csv")
    return download
