"""The form that creates a training job."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from training.accounts.permissions import signed_in_user, visible_to
from training.jobs import lifecycle
from training.jobs.policy import QueuePolicy
from training.models import Dataset, Job
from training.programs.registry import get_program
from training.web.forms import JobForm
from training.web.views.responses import redirect_see_other


@login_required
def create_job(request: HttpRequest) -> HttpResponse:
    """Create a job; `like` (a job ID), `dataset` and `preset` set the initial values."""
    user = signed_in_user(request)
    parent = _parent(request, user)
    form = JobForm(user, request.POST or None, initial=_initial_values(request, parent))
    if request.method == "POST" and form.is_valid():
        return redirect_see_other("job", form.submit(parent).pk)
    context = {
        "form": form,
        "parent": parent,
        "presets": get_program().presets,
        "preset": request.GET.get("preset", ""),
        "dataset": request.GET.get("dataset", ""),
    }
    return render(
        request, "training/job_create.html", context, status=400 if form.is_bound else 200
    )


@require_POST
@login_required
def create_first_job(request: HttpRequest) -> HttpResponse:
    """Create a quick training job on the newest dataset."""
    user = signed_in_user(request)
    newest = visible_to(Dataset.objects.filter(status=Dataset.State.READY), user).first()
    if newest is None:
        return redirect_see_other("datasets")
    program = get_program()
    config = program.parameters(**program.presets[0].values)
    return redirect_see_other("job", lifecycle.submit(user, newest, config, "First training").pk)


def _parent(request: HttpRequest, user: User) -> Job | None:
    like = request.POST.get("like") or request.GET.get("like", "")
    try:
        return visible_to(Job.objects.filter(kind=Job.Kind.TRAINING), user).get(pk=uuid.UUID(like))
    except (ValueError, Job.DoesNotExist):
        return None


def _initial_values(request: HttpRequest, parent: Job | None) -> dict[str, Any]:
    """Initial form values from the parent job or the query string."""
    if parent is not None:
        return {
            **parent.config, **QueuePolicy.of(parent).model_dump(),
            "dataset": parent.dataset_id, "name": parent.name,
            "notes": parent.notes, "team": parent.team_id,
        }  # fmt: skip
    presets = {preset.name: preset for preset in get_program().presets}
    preset = presets.get(request.GET.get("preset", ""))
    chosen = dict(preset.values) if preset else {}
    if "dataset" in request.GET:
        chosen["dataset"] = request.GET["dataset"]
    return chosen
