"""The list of programs, and the page of one."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from pydantic import JsonValue

from training.accounts.permissions import signed_in_user, visible_to
from training.models import Job
from training.programs.manifest import Program
from training.programs.registry import list_programs, load_installed
from training.web import formatting
from training.web.sign_in import sign_in_required
from training.web.views.responses import get_program_or_404

RECENT_JOBS = 20
# Names of JSON Schema for the bounds of a parameter, and how the page prints them.
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


@dataclass(frozen=True, slots=True)
class ParameterRow:
    name: str
    title: str
    kind: str
    default: JsonValue
    bounds: str
    description: str


@require_safe
@sign_in_required
def program_list(request: HttpRequest) -> HttpResponse:
    jobs = visible_to(Job.objects.filter(kind=Job.Kind.TRAINING), signed_in_user(request))
    counts = {
        row["program"]: row
        for row in jobs.order_by()
        .values("program")
        .annotate(jobs=Count("pk"), at=Max("created_at"))
    }
    context = {
        "rows": [(program, counts.get(program.name, {})) for program in list_programs()],
        "broken": [
            (name, problem) for name, problem in load_installed() if isinstance(problem, Exception)
        ],
    }
    return render(request, "training/programs.html", context)


@require_safe
@sign_in_required
def program_detail(request: HttpRequest, name: str) -> HttpResponse:
    program = get_program_or_404(name)
    jobs = visible_to(
        Job.objects.filter(program=name, kind=Job.Kind.TRAINING).select_related("owner"),
        signed_in_user(request),
    )
    context = {
        "program": program,
        "parameters": parameter_rows(program),
        "jobs": jobs[:RECENT_JOBS],
        "best": _best(program, jobs.exclude(best_value=None)),
        "headline": formatting.headline_title(program),
    }
    return render(request, "training/program.html", context)


def _best(program: Program, jobs: QuerySet[Job]) -> Job | None:
    order = "best_value" if program.objective_direction != "maximize" else "-best_value"
    return jobs.order_by(order, "created_at").first()


def parameter_rows(program: Program) -> list[ParameterRow]:
    schema = program.parameters.model_json_schema()
    return [
        ParameterRow(
            name=name,
            title=str(field.get("title", name)),
            kind=_kind(field),
            default=field.get("default"),
            bounds=", ".join(
                f"{words} {field[key]:g}" for key, words in BOUNDS.items() if key in field
            ),
            description=str(field.get("description", "")),
        )
        for name, field in schema.get("properties", {}).items()
        if "$ref" not in field
    ]


def _kind(field: dict[str, JsonValue]) -> str:
    choices = field.get("enum")
    if isinstance(choices, list):
        return ", ".join(map(str, choices))
    options = field.get("anyOf")
    if isinstance(options, list):
        return " or ".join(
            str(option.get("type")) for option in options if isinstance(option, dict)
        )
    return str(field.get("type", ""))
