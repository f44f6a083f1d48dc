"""The page of a job, its actions, and its epochs as pages and as CSV."""

from __future__ import annotations

import uuid

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from training.accounts.permissions import signed_in_user, visible_to
from training.api.exports import tabular
from training.models import Job
from training.programs.registry import get_program
from training.web.actions import JOB_ACTIONS, perform_action
from training.web.views.job_page import Snapshot, epoch_columns, epochs_before
from training.web.views.responses import redirect_see_other, safe_next_url
from training.web.views.sharing import sharing

EPOCHS_PAGE = 500
# What job.js imports: preloaded, so that the browser does not discover them one after the other.
MODULES = [
    f"training/{name}.js"
    for name in ("formatting", "page", "live", "columns", "chart", "job_charts", "progress",
                 "epochs", "job_actions", "artifacts")
]  # fmt: skip


def _job(request: HttpRequest, pk: uuid.UUID) -> Job:
    rows = Job.objects.select_related("dataset", "owner", "parent", "team")
    return get_object_or_404(visible_to(rows, signed_in_user(request)), pk=pk)


@require_safe
@login_required
def job(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = _job(request, pk)
    snapshot = Snapshot.of(found)
    context = {
        **snapshot.for_template(),
        **sharing(found, signed_in_user(request)),
        "snapshot": snapshot.for_script(),
        "modules": MODULES,
        "has_artifacts": bool(safe_next_url(f"/api/v1/training/jobs/{pk}/artifacts")),
    }
    return render(request, "training/job.html", context)


@require_POST
@login_required
def job_action(request: HttpRequest, pk: uuid.UUID, action: str) -> HttpResponse:
    """Pause, resume or cancel the job, then redirect to its page with the outcome."""
    found = _job(request, pk)
    perform_action(request, found, JOB_ACTIONS[action])
    return redirect_see_other("job", found.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def cancel(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask for confirmation on GET, since a cancelled job cannot be resumed; cancel on POST."""
    if request.method == "POST":
        return job_action(request, pk, "cancel")
    return render(request, "training/job_cancel.html", {"job": _job(request, pk)})


@require_safe
@login_required
def epoch_log(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found, sent = _job(request, pk), request.GET.get("before", "")
    before = int(sent) if sent.isascii() and sent.isdigit() else found.current_epoch + 1
    rows = epochs_before(found, before, EPOCHS_PAGE)
    older = rows[-1].epoch if rows and rows[-1].epoch > 1 else None
    context = {
        "job": found, "rows": rows, "older": older, "first": before > found.current_epoch,
        "table": epoch_columns(get_program(found.program)),
    }  # fmt: skip
    return render(request, "training/epochs.html", context)


@require_safe
@login_required
def epochs_csv(request: HttpRequest, pk: uuid.UUID) -> StreamingHttpResponse:
    found = _job(request, pk)
    response = StreamingHttpResponse(
        tabular.epochs_csv(found), content_type="text/csv; charset=utf-8"
    )
    name = f"{slugify(str(found)) or 'job'}-epochs.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
