"""The list of sweeps, and the page that compares the trials of one."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_safe
from pydantic import JsonValue

from training.accounts.permissions import signed_in_user, visible_to
from training.jobs import chart_series
from training.models import Dataset, Job, Sweep
from training.models.states import ACTIVE, Status
from training.programs.metrics import Metric
from training.programs.registry import describe_program
from training.sweeps import scheduler, space_syntax, trials
from training.sweeps.trials import Trial
from training.web import formatting
from training.web.actions import SWEEP_ACTIONS, perform_action
from training.web.charts.line_charts import line_chart
from training.web.sign_in import post_only, sign_in_required
from training.web.views.job_list import sparkline_of, with_sparklines
from training.web.views.responses import redirect_see_other
from training.web.views.sharing import sharing

PAGE, TRIALS_PAGE = 30, 50
CURVES, POINTS = 8, 300


@dataclass(frozen=True, slots=True)
class TrialRow:
    job: Job
    values: list[JsonValue]  # of the varied parameters
    reason: str  # why it was stopped early
    value: str  # of the objective
    is_best: bool
    sparkline: SafeString
    color: str | None  # CSS class of its curve; None if the chart does not show it


@dataclass(frozen=True, slots=True)
class BestTrial:
    trial: Trial
    value: str


@require_safe
@sign_in_required
def sweeps(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    done = Count("jobs", filter=~Q(jobs__status__in=[*ACTIVE, Status.PAUSED]))
    rows = visible_to(Sweep.objects.select_related("dataset", "owner", "team"), user).annotate(
        done=done
    )
    page = Paginator(rows.order_by("-created_at", "-id"), PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": [(sweep, _space(sweep)) for sweep in page],
        "any_dataset": visible_to(Dataset.objects.filter(status="ready"), user).exists(),
    }
    return render(request, "training/sweeps.html", context)


@require_safe
@sign_in_required
def sweep(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = _sweep(request, pk)
    rows = trials.list_trials(found)
    page = Paginator(rows, TRIALS_PAGE).get_page(request.GET.get("page"))
    sparkline_values = dict(with_sparklines([row.job for row in page]))
    sign = 1 if trials.objective_direction(found) == "minimize" else -1
    drawn = sorted(rows, key=lambda row: math.inf if row.value is None else sign * row.value)
    drawn = drawn[:CURVES]
    drawn = sorted(drawn, key=lambda row: row.job.trial or 0)
    columns = {
        row.job.pk: chart_series.columns(row.job, [found.objective], POINTS) for row in drawn
    }
    colors = {row.job.pk: f"c{index}" for index, row in enumerate(drawn)}
    best = next((row for row in rows if row.is_best), None)
    context = {
        "sweep": found,
        **sharing(found, signed_in_user(request)),
        # Access to the sweep does not imply it.
        "may_open_dataset": visible_to(Dataset.objects.all(), signed_in_user(request))
        .filter(sweeps=found)
        .exists(),
        "rows": [
            _row(found, row, sparkline_values[row.job], colors.get(row.job.pk)) for row in page
        ],
        "page": page,
        "parameters": [
            describe_program(found.program).parameter_title(name) for name in found.space
        ],
        "space": _space(found),
        "objective": _objective(found).title,
        "objective_label": _objective_label(found),
        "trend_label": describe_program(found.program).headline_metric.label,
        "best": best and BestTrial(best, _format_objective(found, best.value)),
        "finished": sum(row.job.status not in (*ACTIVE, Status.PAUSED) for row in rows),
        "stopped": sum(row.was_stopped for row in rows),
        "chart": _chart(found, columns, colors),
        "compare": ",".join(str(row.job.pk) for row in drawn) if len(drawn) > 1 else "",
        "allowed": {
            "pause": found.status == "running",
            "resume": found.status == "paused",
            "cancel": found.status in ("running", "paused"),
        },
        "script": {
            "metric": _objective(found).as_json(),
            "active": found.status in ("running", "paused"),
            "trials": [str(row.job.pk) for row in rows],
            "runs": [
                {"id": str(pk := row.job.pk), "name": str(row.job), "seq": row.job.seq,
                 "columns": columns[pk].as_json()}
                for row in drawn
            ],
        },
    }  # fmt: skip
    return render(request, "training/sweep.html", context)


def _row(
    found: Sweep, row: Trial, headline_values: list[float | None], color: str | None
) -> TrialRow:
    return TrialRow(
        job=row.job,
        values=list(row.point.values()),
        reason=row.job.cancel_reason if row.was_stopped else "",
        value=_format_objective(found, row.value),
        is_best=row.is_best,
        sparkline=sparkline_of(row.job, headline_values),
        color=color,
    )


def _format_objective(found: Sweep, value: float | None) -> str:
    return _formatter(found)(value)


def _objective(found: Sweep) -> Metric:
    return describe_program(found.program).metrics.describe(found.objective)


def _objective_label(found: Sweep) -> str:
    program = describe_program(found.program)
    if found.objective == program.objective_metric:
        return f"Best {_objective(found).title.lower()}"
    return f"{_objective(found).title} (best epoch)"


def _formatter(found: Sweep) -> Callable[[float | None], str]:
    return formatting.formatter(_objective(found))


def _space(found: Sweep) -> list[tuple[str | None, str]]:
    return [
        (describe_program(found.program).parameter_title(name), space_syntax.format_options(given))
        for name, given in found.space.items()
    ]


def _chart(
    found: Sweep, columns: dict[uuid.UUID, chart_series.Columns], colors: dict[uuid.UUID, str]
) -> SafeString | None:
    epochs = sorted({epoch for trial in columns.values() for epoch in trial.epoch})
    if not epochs:
        return None
    lines = {}
    for pk, trial in columns.items():
        at = dict(zip(trial.epoch, trial.series[found.objective], strict=True))
        lines[colors[pk]] = [at.get(epoch) for epoch in epochs]
    return line_chart(
        f"{_objective(found).title} of the best trials", epochs, lines, _formatter(found)
    )


def _sweep(request: HttpRequest, pk: uuid.UUID) -> Sweep:
    rows = Sweep.objects.select_related("dataset", "owner")
    return get_object_or_404(visible_to(rows, signed_in_user(request)), pk=pk)


@post_only
@sign_in_required
def sweep_action(request: HttpRequest, pk: uuid.UUID, action: str) -> HttpResponse:
    found = _sweep(request, pk)
    if perform_action(request, found, SWEEP_ACTIONS[action]):
        scheduler.advance_sweep(found.pk)
    return redirect_see_other("sweep", found.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def cancel(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask for confirmation on GET, since a cancelled sweep cannot be resumed; cancel on POST."""
    if request.method == "POST":
        return sweep_action(request, pk, "cancel")
    return render(request, "training/sweep_cancel.html", {"sweep": _sweep(request, pk)})
