"""The form that creates a training job."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import signed_in_user, visible_to
from training.jobs import lifecycle
from training.jobs.origins import origin_id
from training.jobs.policy import QueuePolicy
from training.models import Dataset, Job
from training.programs.manifest import Program
from training.programs.registry import (
    DEFAULT_PROGRAM,
    get_program,
    list_programs,
)
from training.validation import InvalidInputError
from training.web import drafts
from training.web.create_once import create_once
from training.web.forms import InitialValues, JobForm, add_validation_errors
from training.web.sign_in import post_only, sign_in_required
from training.web.views.responses import (
    HttpResponseSeeOther,
    get_program_or_404,
    redirect_see_other,
)


@drafts.keeps_draft
@sign_in_required
def create_job(request: HttpRequest) -> HttpResponse:
    """Create a job of `program`.

    `like` (the ID of a job), `init_from`, `dataset`, `project` and `preset` set initial values.
    """
    user = signed_in_user(request)
    parent = _parent(request, user)
    program = _program(request, parent)
    initial = _initial_values(request, user, program, parent)
    form = JobForm(user, program, request.POST or None, initial=initial)
    drafts.fill(form, drafts.take(request))
    if request.method == "POST" and form.is_valid():
        try:
            creation = create_once(request, "job", lambda: form.submit(parent))
        except LimitReachedError as error:
            form.add_error(None, str(error))
        except InvalidInputError as error:
            add_validation_errors(form, error)
        else:
            return HttpResponseSeeOther(creation.url)
    context = {
        "form": form,
        "parent": parent,
        "program": program,
        "programs": list_programs(),
        "presets": program.presets,
        "preset_fields": " ".join({name for preset in program.presets for name in preset.values}),
        "preset": request.GET.get("preset", ""),
        "dataset": request.GET.get("dataset", ""),
    }
    return render(
        request, "training/job_create.html", context, status=400 if form.is_bound else 200
    )


@post_only
@sign_in_required
def create_first_job(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    newest = visible_to(Dataset.objects.filter(status=Dataset.State.READY), user).first()
    if newest is None:
        return redirect_see_other("datasets")
    program = get_program()
    config = program.parameters(**program.presets[0].values)
    try:
        creation = create_once(
            request, "job", lambda: lifecycle.submit(user, newest, config, "First training")
        )
    except LimitReachedError as error:
        messages.warning(request, str(error))
        return redirect_see_other("jobs")
    return HttpResponseSeeOther(creation.url)


def _parent(request: HttpRequest, user: User) -> Job | None:
    like = request.POST.get("like") or request.GET.get("like", "")
    try:
        return visible_to(Job.objects.filter(kind=Job.Kind.TRAINING, reported=False), user).get(
            pk=uuid.UUID(like)
        )
    except (ValueError, Job.DoesNotExist):
        return None


def _program(request: HttpRequest, parent: Job | None) -> Program:
    """The program of the parent job, else the requested one; 404 if it is not installed."""
    name = parent.program if parent else request.GET.get("program", DEFAULT_PROGRAM)
    return get_program_or_404(name)


def _initial_values(
    request: HttpRequest, user: User, program: Program, parent: Job | None
) -> InitialValues:
    if parent is not None:
        return {
            **parent.config, **QueuePolicy.of(parent).allowed_for(user).model_dump(),
            "dataset": parent.dataset_id, "name": parent.name,
            "notes": parent.notes, "team": parent.team_id,
            "project": parent.project.name if parent.project else "",
            "init_from": request.GET.get("init_from") or origin_id(parent),
        }  # fmt: skip
    presets = {preset.name: preset for preset in program.presets}
    preset = presets.get(request.GET.get("preset", ""))
    chosen: InitialValues = {"needs": program.needs, **(preset.values if preset else {})}
    for name in ("dataset", "project", "init_from"):
        if name in request.GET:
            chosen[name] = request.GET[name]
    return chosen
