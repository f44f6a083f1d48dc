"""Compares 2 to 8 jobs; the selection and all options are in the query string."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from realtime.events import timestamp
from training.accounts.permissions import signed_in_user, visible_to
from training.api.serializers.jobs import JobSerializer
from training.jobs import chart_series
from training.models import Job, TrainedModel
from training.models.states import ACTIVE, Status
from training.programs.registry import get_program
from training.web import formatting
from training.web.charts.line_charts import cdf_chart, comparison_chart
from training.web.charts.ticks import tick_formatter

MIN_JOBS, MAX_JOBS = 2, 8
POINTS = 400
# The metrics to choose from: those of the table of epochs, the headline first.
METRICS = {
    name: get_program().metrics[name].title
    for name in dict.fromkeys([get_program().headline, *get_program().table])
}
# Title, key and formatter of each result row; lower is better in all of them.
RESULTS = (
    (
        formatting.headline_title(get_program()),
        get_program().headline,
        formatting.formatter(get_program().headline_metric),
    ),
    ("Test RMSE", "rmse_m", formatting.format_distance),
    ("Test median", "median_m", formatting.format_distance),
    ("Test 95th percentile", "p95_m", formatting.format_distance),
    ("Test NLL", "nll", formatting.format_number),
    ("Training time", "seconds", formatting.format_duration),
)


@dataclass(frozen=True)
class Choice:
    """The options in the query string."""

    jobs: list[uuid.UUID]
    baseline: uuid.UUID | None
    metric: str
    over: str
    log: bool

    @classmethod
    def from_request(cls, request: HttpRequest) -> Choice:
        """Invalid values are ignored."""
        sent = ",".join(request.GET.getlist("jobs") + request.GET.getlist("job")).split(",")
        jobs = list(dict.fromkeys(pk for one in sent if (pk := _uuid(one))))[:MAX_JOBS]
        baseline = _uuid(request.GET.get("baseline", ""))
        metric, over = request.GET.get("metric", ""), request.GET.get("over", "")
        return cls(
            jobs=jobs,
            baseline=baseline if baseline in jobs else None,
            metric=metric if metric in METRICS else get_program().headline,
            over=over if over == "time" else "epoch",
            log=request.GET.get("scale") == "log",
        )

    def url(self, **changed: Any) -> str:
        """The query string with some options changed."""
        query = {
            "jobs": ",".join(map(str, self.jobs)), "baseline": self.baseline,
            "metric": self.metric, "over": self.over, "scale": "log" if self.log else "",
            **changed,
        }  # fmt: skip
        return f"?{urlencode({name: value for name, value in query.items() if value})}"


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@require_safe
@login_required
def compare(request: HttpRequest) -> HttpResponse:
    choice = Choice.from_request(request)
    rows = visible_to(
        Job.objects.select_related("dataset", "owner", "team"), signed_in_user(request)
    )
    found = {job.pk: job for job in rows.filter(pk__in=choice.jobs, kind=Job.Kind.TRAINING)}
    jobs = [found[pk] for pk in choice.jobs if pk in found]
    models = {one.job_id: one for one in TrainedModel.objects.filter(job__in=jobs)}
    curves = {
        job.pk: chart_series.columns(job, [choice.metric, get_program().headline], POINTS)
        for job in jobs
    }
    context = {
        "choice": choice,
        "enough": len(jobs) >= MIN_JOBS,
        "columns": [_column(choice, job, index) for index, job in enumerate(jobs)],
        "parameters": differing_parameters(jobs),
        "results": [_result(choice, jobs, models, curves, *one) for one in RESULTS],
        "curves": _curves(choice, jobs, curves),
        "datasets_differ": len({job.dataset_id for job in jobs}) > 1,
        "active": any(job.status in ACTIVE for job in jobs),
        "cdf": _cdf(jobs, models),
        "metrics": [(name, title, choice.url(metric=name)) for name, title in METRICS.items()],
        "by_epoch": choice.url(over=""),
        "by_time": choice.url(over="time"),
        "linear": choice.url(scale=""),
        "logarithmic": choice.url(scale="log"),
        "script": {
            "metric": get_program().metrics[choice.metric].as_json(),
            "over": choice.over,
            "log": choice.log,
            "jobs": [_for_script(job, curves[job.pk]) for job in jobs],
        },
    }
    return render(request, "training/compare.html", context)


def _for_script(job: Job, columns: chart_series.Columns) -> dict[str, Any]:
    newest = job.epochs.order_by("-epoch").values_list("at", flat=True).first()
    return {
        **JobSerializer(job).data, "columns": columns.as_json(),
        "ended": timestamp(newest) if newest and job.status == Status.RUNNING else None,
    }  # fmt: skip


def _curves(
    choice: Choice, jobs: list[Job], columns: dict[uuid.UUID, chart_series.Columns]
) -> SafeString:
    """The chart for pages without JavaScript."""
    lines = {}
    for index, job in enumerate(jobs):
        one = columns[job.pk]
        x = one.seconds if choice.over == "time" else one.epoch
        lines[f"c{index}"] = (x, one.series[choice.metric])
    format_y = tick_formatter(get_program().metrics[choice.metric])
    format_x = formatting.format_duration if choice.over == "time" else None
    return comparison_chart(
        f"{METRICS[choice.metric]} of each job", lines, format_y, format_x, choice.log
    )


def _column(choice: Choice, job: Job, index: int) -> dict[str, Any]:
    rest = ",".join(str(pk) for pk in choice.jobs if pk != job.pk)
    pinned = choice.baseline == job.pk
    return {
        "job": job,
        "state": job.display_status,
        "colour": f"c{index}",
        "pinned": pinned,
        "pin": choice.url(baseline="" if pinned else job.pk),
        "without": choice.url(jobs=rest),
    }


def differing_parameters(jobs: list[Job]) -> list[dict[str, Any]]:
    """The parameters whose values differ between the jobs."""
    rows: list[dict[str, Any]] = []
    if len({job.dataset_id for job in jobs}) > 1:
        rows.append({"title": "Dataset", "values_of": [job.dataset.name for job in jobs]})
    for name, info in get_program().parameters.model_fields.items():
        values = [job.config.get(name) for job in jobs]
        if any(value != values[0] for value in values[1:]):
            rows.append({"title": info.title, "values_of": values})
    return rows


def _result(
    choice: Choice,
    jobs: list[Job],
    models: dict[uuid.UUID, TrainedModel],
    curves: dict[uuid.UUID, chart_series.Columns],
    title: str,
    name: str,
    format_y: Any,
) -> dict[str, Any]:
    """One table row: each job's value, the best one marked, and the difference to the baseline."""
    values: list[float | None] = []
    for job in jobs:
        if name == get_program().headline:
            values.append(job.headline_value)
        elif name == "seconds":
            values.append(curves[job.pk].seconds[-1] if curves[job.pk].seconds else None)
        else:
            model = models.get(job.pk)
            values.append(model.evaluation.get("test", {}).get(name) if model else None)
    known = [value for value in values if value is not None]
    base = values[[job.pk for job in jobs].index(choice.baseline)] if choice.baseline else None
    cells = [
        {"text": format_y(value), "best": len(known) > 1 and value == min(known),
         "difference": _difference(value, base)}
        for value in values
    ]  # fmt: skip
    return {"title": title, "name": name, "cells": cells, "any": bool(known)}


def _difference(value: float | None, base: float | None) -> str:
    if value is None or not base or value == base:
        return ""
    percent = f"{100 * (value - base) / abs(base):+.1f}".replace("-", "−")
    return f"{'±0.0' if percent.endswith(('+0.0', '−0.0')) else percent} %"


def _cdf(jobs: list[Job], models: dict[uuid.UUID, TrainedModel]) -> SafeString | None:
    named = {}
    for index, job in enumerate(jobs):
        cdf = models[job.pk].evaluation.get("cdf") if job.pk in models else None
        if cdf:
            named[f"c{index}"] = (cdf["model"], cdf["share"])
    return cdf_chart(named) if named else None
