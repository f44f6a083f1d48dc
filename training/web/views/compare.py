"""Compares 2 to 8 jobs; the selection and all options are in the query string."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe
from pydantic import JsonValue

from realtime.events import timestamp
from training.accounts.permissions import signed_in_user, visible_to
from training.api.serializers.jobs import JobSerializer
from training.jobs import chart_series
from training.models import Job, TrainedModel
from training.models.states import ACTIVE, Status
from training.programs.charts import declare_observed
from training.programs.manifest import Program
from training.programs.metrics import Direction, Metric
from training.programs.registry import describe_program
from training.web import formatting
from training.web.charts.line_charts import cdf_chart, comparison_chart
from training.web.charts.ticks import tick_formatter
from training.web.sign_in import sign_in_required

MIN_JOBS, MAX_JOBS = 2, 8
POINTS = 400
MAX_METRICS = 30


class Result(NamedTuple):
    """A result to compare. `direction` is None where no value is better than another."""

    title: str
    value_of: Callable[[Job], float | None]
    format: Callable[[float | None], str]
    direction: Direction | None = "minimize"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The jobs with everything that is shown of them; metrics are those of all their programs."""

    jobs: list[Job]
    models: dict[uuid.UUID, TrainedModel]
    programs: dict[uuid.UUID, Program]

    @classmethod
    def of(cls, jobs: list[Job]) -> Comparison:
        return cls(
            jobs,
            {model.job_id: model for model in TrainedModel.objects.filter(job__in=jobs)},
            {
                job.pk: declare_observed(
                    describe_program(job.program), chart_series.series_names(job)
                )
                for job in jobs
            },
        )

    @property
    def distinct_programs(self) -> list[Program]:
        return list({program.name: program for program in self.programs.values()}.values())

    def metrics(self) -> dict[str, Metric]:
        """The metrics to choose from, headlines first."""
        programs = list(self.programs.values())
        names = [program.headline_name for program in programs if program.headline_name]
        names += [name for program in programs for name in program.table]
        found = {
            name: next(program.metrics[name] for program in programs if name in program.metrics)
            for name in dict.fromkeys(names)
        }
        return dict(list(found.items())[:MAX_METRICS])

    def results(self, seconds: dict[uuid.UUID, float | None]) -> list[Result]:
        headlines = [
            Result(
                formatting.headline_title(program),
                partial(self._headline, program),
                formatting.formatter(program.headline_metric),
                program.direction_of(program.headline_name),
            )
            for program in self.distinct_programs
            if program.headline_name
        ]
        return [
            *headlines,
            Result("Test RMSE", partial(self._on_test, "rmse_m"), formatting.format_distance),
            Result("Test median", partial(self._on_test, "median_m"), formatting.format_distance),
            Result(
                "Test 95th percentile", partial(self._on_test, "p95_m"), formatting.format_distance
            ),
            Result("Test NLL", partial(self._on_test, "nll"), formatting.format_number),
            Result("Training time", lambda job: seconds[job.pk], formatting.format_duration, None),
        ]

    def _headline(self, program: Program, job: Job) -> float | None:
        return job.headline_value if job.program == program.name else None

    def _on_test(self, key: str, job: Job) -> float | None:
        model = self.models.get(job.pk)
        return model.evaluation.get("test", {}).get(key) if model else None


@dataclass(frozen=True)
class Choice:
    """The options in the query string. An unknown `metric` stands for the first one."""

    jobs: list[uuid.UUID]
    baseline: uuid.UUID | None
    metric: str
    over: str
    log: bool

    @classmethod
    def from_request(cls, request: HttpRequest) -> Choice:
        """Invalid values are ignored."""
        sent = ",".join(request.GET.getlist("jobs") + request.GET.getlist("job")).split(",")
        jobs = list(dict.fromkeys(pk for value in sent if (pk := _uuid(value))))[:MAX_JOBS]
        baseline = _uuid(request.GET.get("baseline", ""))
        metric, over = request.GET.get("metric", ""), request.GET.get("over", "")
        return cls(
            jobs=jobs,
            baseline=baseline if baseline in jobs else None,
            metric=metric,
            over=over if over == "time" else "epoch",
            log=request.GET.get("scale") == "log",
        )

    def url(self, **changed: str | uuid.UUID) -> str:
        query = {
            "jobs": ",".join(map(str, self.jobs)), "baseline": self.baseline,
            "metric": self.metric, "over": self.over, "scale": "log" if self.log else "",
            **changed,
        }  # fmt: skip
        return f"?{urlencode({name: value for name, value in query.items() if value})}"


# The job as the API shows it, with `columns` and `ended`.
JobForScript = dict[str, JsonValue | chart_series.ColumnsJson]


@dataclass(frozen=True, slots=True)
class JobColumn:
    """A job of the table; `pin` and `without` are the URLs of its buttons."""

    job: Job
    color: str
    pinned: bool
    pin: str
    without: str


@dataclass(frozen=True, slots=True)
class ParameterRow:
    title: str
    values_of: Sequence[JsonValue]  # one per job


@dataclass(frozen=True, slots=True)
class ResultCell:
    text: str
    best: bool
    difference: str  # from the baseline, in percent


@dataclass(frozen=True, slots=True)
class ResultRow:
    title: str
    cells: list[ResultCell]
    any: bool  # whether any job has a value


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@require_safe
@sign_in_required
def compare(request: HttpRequest) -> HttpResponse:
    choice = Choice.from_request(request)
    rows = visible_to(
        Job.objects.select_related("dataset", "owner", "team"), signed_in_user(request)
    )
    found = {job.pk: job for job in rows.filter(pk__in=choice.jobs, kind=Job.Kind.TRAINING)}
    jobs = [found[pk] for pk in choice.jobs if pk in found]
    comparison = Comparison.of(jobs)
    metrics = comparison.metrics()
    if choice.metric not in metrics:
        choice = replace(choice, metric=next(iter(metrics), ""))
    metric = metrics.get(choice.metric, Metric(name="", title="No metrics yet"))
    curves = {job.pk: chart_series.columns(job, [metric.name], POINTS) for job in jobs}
    seconds = {pk: found.seconds[-1] if found.seconds else None for pk, found in curves.items()}
    context = {
        "choice": choice,
        "enough": len(jobs) >= MIN_JOBS,
        "columns": [_column(choice, job, index) for index, job in enumerate(jobs)],
        "parameters": differing_parameters(comparison),
        "results": [_result_row(choice, jobs, result) for result in comparison.results(seconds)],
        "curves": _curves(choice, metric, jobs, curves),
        "datasets_differ": len({job.dataset_id for job in jobs}) > 1,
        "active": any(job.status in ACTIVE for job in jobs),
        "cdf": _cdf(jobs, comparison.models),
        "metrics": [(name, one.label, choice.url(metric=name)) for name, one in metrics.items()],
        "by_epoch": choice.url(over=""),
        "by_time": choice.url(over="time"),
        "linear": choice.url(scale=""),
        "logarithmic": choice.url(scale="log"),
        "script": {
            "metric": metric.as_json(),
            "over": choice.over,
            "log": choice.log,
            "jobs": [_for_script(job, curves[job.pk]) for job in jobs],
        },
    }
    return render(request, "training/compare.html", context)


def _for_script(job: Job, columns: chart_series.Columns) -> JobForScript:
    newest = job.epochs.order_by("-epoch").values_list("at", flat=True).first()
    return {
        **JobSerializer(job).data, "columns": columns.as_json(),
        "ended": timestamp(newest) if newest and job.status == Status.RUNNING else None,
    }  # fmt: skip


def _curves(
    choice: Choice,
    metric: Metric,
    jobs: list[Job],
    columns: dict[uuid.UUID, chart_series.Columns],
) -> SafeString:
    lines = {}
    for index, job in enumerate(jobs):
        history = columns[job.pk]
        x = history.seconds if choice.over == "time" else history.epoch
        lines[f"c{index}"] = (x, history.series[metric.name])
    format_y = tick_formatter(metric)
    format_x = formatting.format_duration if choice.over == "time" else None
    return comparison_chart(f"{metric.title} of each job", lines, format_y, format_x, choice.log)


def _column(choice: Choice, job: Job, index: int) -> JobColumn:
    rest = ",".join(str(pk) for pk in choice.jobs if pk != job.pk)
    pinned = choice.baseline == job.pk
    return JobColumn(
        job=job,
        color=f"c{index}",
        pinned=pinned,
        pin=choice.url(baseline="" if pinned else job.pk),
        without=choice.url(jobs=rest),
    )


def differing_parameters(comparison: Comparison) -> list[ParameterRow]:
    jobs = comparison.jobs
    candidates = [
        ParameterRow("Program", [comparison.programs[job.pk].title for job in jobs]),
        ParameterRow("Dataset", [job.dataset.name if job.dataset else "" for job in jobs]),
        *(
            ParameterRow(_title(comparison, name), [job.config.get(name) for job in jobs])
            for name in dict.fromkeys(name for job in jobs for name in job.config)
        ),
    ]
    return [row for row in candidates if any(value != row.values_of[0] for value in row.values_of)]


def _title(comparison: Comparison, name: str) -> str:
    for program in comparison.distinct_programs:
        if name in program.parameters.model_fields:
            return program.parameter_title(name)
    return name


def _result_row(choice: Choice, jobs: list[Job], result: Result) -> ResultRow:
    values = [result.value_of(job) for job in jobs]
    known = [value for value in values if value is not None]
    # The baseline may have been deleted, or be a job that this user cannot see.
    by_job = dict(zip((job.pk for job in jobs), values, strict=True))
    base = by_job.get(choice.baseline) if choice.baseline else None
    best = ""
    # Values with the same text are tied; tied best values are not marked.
    if result.direction and len(known) > 1:
        best = result.format(min(known) if result.direction == "minimize" else max(known))
        if [result.format(value) for value in known].count(best) > 1:
            best = ""
    cells = [
        ResultCell(
            text=result.format(value),
            best=value is not None and result.format(value) == best,
            difference=_difference(value, base),
        )
        for value in values
    ]
    return ResultRow(result.title, cells, any=bool(known))


def _difference(value: float | None, base: float | None) -> str:
    if value is None or not base or value == base:
        return ""
    percent = f"{100 * (value - base) / abs(base):+.1f}"
    return f"{'±0.0' if percent.endswith(('+0.0', '-0.0')) else percent} %"


def _cdf(jobs: list[Job], models: dict[uuid.UUID, TrainedModel]) -> SafeString | None:
    named = {}
    for index, job in enumerate(jobs):
        cdf = models[job.pk].evaluation.get("cdf") if job.pk in models else None
        if cdf:
            named[f"c{index}"] = (cdf["model"], cdf["share"])
    return cdf_chart(named) if named else None
