"""The list of trained models, and the page of one."""

from __future__ import annotations

import uuid

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from training.accounts.permissions import signed_in_user, visible_to
from training.api.predictions import model_file
from training.jobs.reference_errors import best_baseline
from training.models import Job, TrainedModel
from training.web.sign_in import sign_in_required
from training.web.views.job_page import chart_drawings

MAX_MODELS = 100


@require_safe
@sign_in_required
def model_list(request: HttpRequest) -> HttpResponse:
    rows = _models(request).select_related("job__owner")[:MAX_MODELS]
    context = {"rows": [(row, best_baseline(row.evaluation)) for row in rows]}
    return render(request, "training/models.html", context)


@require_safe
@sign_in_required
def model_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = get_object_or_404(_models(request), pk=pk)
    context = {
        "model": found,
        "job": found.job,
        "evaluation": found.evaluation,
        "is_usable": model_file(found).exists(),
        **chart_drawings(found.evaluation),
    }
    return render(request, "training/model.html", context)


def _models(request: HttpRequest) -> QuerySet[TrainedModel]:
    jobs = visible_to(Job.objects.all(), signed_in_user(request))
    return TrainedModel.objects.filter(job__in=jobs).select_related("job", "job__dataset")
