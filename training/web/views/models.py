"""The list of trained models, and the page of one."""

from __future__ import annotations

import uuid

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from training.accounts.permissions import signed_in_user, visible_to
from training.jobs.reference_errors import best_baseline
from training.models import Job, TrainedModel
from training.web.views.job_page import chart_drawings
from training.web.views.responses import safe_next_url

MAX_MODELS = 100
READINGS = (("rssi_dbm", "RSSI"), ("snr_db", "SNR"), ("toa_ns", "Arrival time"))


@require_safe
@login_required
def model_list(request: HttpRequest) -> HttpResponse:
    jobs = visible_to(Job.objects.all(), signed_in_user(request))
    rows = TrainedModel.objects.filter(job__in=jobs).select_related(
        "job", "job__dataset", "job__owner"
    )[:MAX_MODELS]
    context = {"rows": [(row, best_baseline(row.evaluation)) for row in rows]}
    return render(request, "training/models.html", context)


@require_safe
@login_required
def model_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    jobs = visible_to(Job.objects.all(), signed_in_user(request))
    rows = TrainedModel.objects.filter(job__in=jobs).select_related("job", "job__dataset")
    found = get_object_or_404(rows, pk=pk)
    context = {
        "model": found,
        "job": found.job,
        "evaluation": found.evaluation,
        "receivers": found.job.dataset.facts.get("receivers", []),
        "predict": safe_next_url(f"/api/v1/training/models/{found.pk}/predict"),
        "fields": READINGS,
        **chart_drawings(found.evaluation),
    }
    return render(request, "training/model.html", context)
