"""The list of projects, the page of one, and the forms that create, change and delete them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db.models import Count, Max, Min, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_safe

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import (
    is_owner,
    require_owner,
    signed_in_user,
    teams_of,
    visible_to,
)
from training.jobs import projects
from training.jobs import status as job_status
from training.models import Job, Project
from training.models.states import ACTIVE, Status
from training.programs.registry import describe_program
from training.web import drafts, formatting
from training.web.create_once import create_once
from training.web.form_errors import ValidatedForm
from training.web.sign_in import sign_in_required
from training.web.views.responses import HttpResponseSeeOther, redirect_see_other

MAX_PROJECTS = 500
NEWEST_JOBS = 20


class ProjectForm(ValidatedForm):
    name = forms.CharField(max_length=200, help_text="Unique among your projects.")
    description = forms.CharField(
        max_length=20_000, required=False, widget=forms.Textarea({"rows": 4}), help_text="Optional."
    )
    team = forms.ModelChoiceField(
        Group.objects.none(),
        required=False,
        label="Share with",
        empty_label="No team",
        help_text="Team members can view the project, and new jobs in it are shared with them.",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        teams = teams_of(user)
        if teams.exists():
            self.fields["team"].queryset = teams  # type: ignore[attr-defined]
        else:
            del self.fields["team"]

    @property
    def chosen_team(self) -> Group | None:
        return cast("Group | None", self.cleaned_data.get("team"))


@dataclass(frozen=True, slots=True)
class ProgramSummary:
    """The jobs of one program in a project."""

    name: str
    title: str
    jobs: int
    metric: str
    best: Job | None


@require_safe
@sign_in_required
def project_list(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    found = visible_to(Project.objects.select_related("owner", "team"), user)
    rows = list(found[:MAX_PROJECTS])
    counted = visible_to(Job.objects.filter(project__in=rows), user).order_by().values("project")
    counts = {
        row["project"]: row
        for row in counted.annotate(
            jobs=Count("pk"),
            active=Count("pk", filter=Q(status__in=ACTIVE)),
            at=Max("created_at"),
        )
    }
    without = visible_to(Job.objects.filter(project=None), user)
    context = {
        "rows": [(project, counts.get(project.pk, {})) for project in rows],
        "without_project": without.count(),
        "default_name": projects.DEFAULT_NAME,
    }
    return render(request, "training/projects.html", context)


@require_safe
@sign_in_required
def project_detail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    user = signed_in_user(request)
    project = _project(request, pk)
    jobs = visible_to(Job.objects.filter(project=project), user)
    counted = jobs.order_by().values_list("status").annotate(count=Count("pk"))
    counts = dict(counted.values_list("status", "count"))
    context = {
        "project": project,
        "may_change": is_owner(project, user),
        "counts": [
            (state, job_status.STATUS_LABELS[state], counts[state])
            for state in Status.values
            if counts.get(state)
        ],
        "total": sum(counts.values()),
        "programs": _summarize_programs(jobs),
        "jobs": jobs.select_related("owner", "team")[:NEWEST_JOBS],
    }
    return render(request, "training/project.html", context)


def _summarize_programs(jobs: QuerySet[Job]) -> list[ProgramSummary]:
    """The best job of each program, in two queries for any number of programs."""
    trained = jobs.filter(kind=Job.Kind.TRAINING).order_by()
    rows = list(
        trained.values("program").annotate(
            jobs=Count("pk"), low=Min("best_value"), high=Max("best_value")
        )
    )
    wanted = Q(pk=None)
    for row in rows:
        objective = describe_program(row["program"]).objective
        # Reported jobs share a program and have an objective each, so none of them is the best.
        if objective and row["low"] is not None:
            value = row["high"] if objective.direction == "maximize" else row["low"]
            wanted |= Q(program=row["program"], best_value=value)
    best: dict[str, Job] = {}
    for job in trained.filter(wanted).order_by("created_at"):
        best.setdefault(job.program, job)
    return [
        ProgramSummary(
            name=row["program"],
            title=describe_program(row["program"]).title,
            jobs=row["jobs"],
            metric=formatting.headline_title(describe_program(row["program"])),
            best=best.get(row["program"]),
        )
        for row in sorted(rows, key=lambda row: -row["jobs"])
    ]


@drafts.keeps_draft
@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def create_project(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    form = ProjectForm(user, request.POST or None)
    drafts.fill(form, drafts.take(request))
    if form.is_valid():
        cleaned = form.cleaned_data

        def create() -> Project:
            name, description = cleaned["name"], cleaned["description"]
            return projects.create_project(user, name, description, form.chosen_team)

        try:
            creation = create_once(request, "project", create)
        except projects.ProjectNameTakenError as error:
            form.add_error("name", str(error))
        except LimitReachedError as error:
            form.add_error(None, str(error))
        else:
            if creation.row:
                messages.success(request, f"Created {creation.row}.")
            return HttpResponseSeeOther(creation.url)
    return _render_form(request, form, None)


@drafts.keeps_draft
@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def edit_project(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    user, project = signed_in_user(request), _project(request, pk)
    require_owner(project, user)
    now = {"name": project.name, "description": project.description, "team": project.team}
    form = ProjectForm(user, request.POST or None, initial=now)
    drafts.fill(form, drafts.take(request))
    if form.is_valid():
        cleaned = form.cleaned_data
        team = form.chosen_team if "team" in form.fields else project.team
        try:
            projects.update_project(
                project, name=cleaned["name"], description=cleaned["description"], team=team
            )
        except projects.ProjectNameTakenError as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, "Saved.")
            return redirect_see_other("project", pk)
    return _render_form(request, form, _project(request, pk))


@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def delete_project(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask for confirmation on GET; delete on POST. The jobs are kept."""
    project = _project(request, pk)
    require_owner(project, signed_in_user(request))
    if request.method == "POST":
        projects.delete_project(project)
        messages.success(request, f"Deleted {project.name}. Its jobs were kept.")
        return redirect_see_other("projects")
    context = {"project": project, "count": project.jobs.count()}
    return render(request, "training/project_delete.html", context)


def _render_form(request: HttpRequest, form: ProjectForm, project: Project | None) -> HttpResponse:
    context = {"form": form, "project": project}
    status = 400 if form.is_bound else 200
    return render(request, "training/project_form.html", context, status=status)


def _project(request: HttpRequest, pk: uuid.UUID) -> Project:
    rows = visible_to(Project.objects.select_related("owner", "team"), signed_in_user(request))
    return get_object_or_404(rows, pk=pk)
