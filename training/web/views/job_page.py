"""The content of a job's page, read once: for its template and for its script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TypedDict
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.safestring import SafeString
from pydantic import JsonValue

from heimdall_sdk.messages import Objective
from realtime.events import timestamp
from training.accounts.permissions import visible_by_key
from training.api.predictions import model_file
from training.api.serializers.jobs import JobSerializer
from training.jobs import chart_series, logs, progress, status, system_figures
from training.jobs.origins import origin_id
from training.jobs.reference_errors import ReferenceErrors, ReferenceErrorsJson, reference_errors
from training.jobs.system_figures import SystemColumns
from training.models import Epoch, Job, JobEvent, TrainedModel
from training.models.evaluation import Evaluation
from training.models.states import Status
from training.programs.charts import declare_observed
from training.programs.manifest import Program
from training.programs.metrics import Chart, Direction, Metric
from training.programs.registry import describe_program
from training.web import formatting, terminal
from training.web.charts.line_charts import cdf_chart, comparison_chart, line_chart
from training.web.charts.maps import error_map
from training.web.charts.system_charts import DrawnSystemChart, draw_system_charts
from training.web.charts.ticks import tick_formatter
from training.web.config_rows import ConfigRow, config_rows, count_hidden
from training.web.metric_rows import MetricRow, metric_rows
from training.workers.registry import Capacity

# About as many as a chart is wide in pixels.
CHART_POINTS = 800
# Charts with values in the page; the script fetches those of others when they are in view.
EMBEDDED_CHARTS = 6
LINE_STYLES = 8  # in style.css and job_charts.js
CHART_AXES = (("step", "Step"), ("epoch", "Epoch"), ("time", "Time"))
TABLE_ROWS = 50
SYSTEM_POINTS = 300
LOG_LINES = 200
LOG_BYTES = 256 * 1024
# Rows of the table of last and best values; the page of metrics has the others.
METRIC_ROWS = 100
# Lines of a failed job's log, below its error message.
EXCERPT_LINES = 40


@dataclass(frozen=True, slots=True)
class EpochColumn:
    """A column of the table of epochs."""

    metric: Metric
    wide: bool  # hidden on narrow screens


@dataclass(frozen=True, slots=True)
class DrawnChart:
    """A chart of the program with its curves for pages without JavaScript."""

    name: str
    title: str
    metrics: list[Metric]
    has_levels: bool
    has_values: bool
    curves: SafeString

    @property
    def styled(self) -> list[tuple[int, Metric]]:
        """Each metric with the number of its line style."""
        return [(index % LINE_STYLES, metric) for index, metric in enumerate(self.metrics)]


@dataclass(frozen=True, slots=True)
class ChartSection:
    """Charts whose metrics have the same prefix; those of the program have none."""

    name: str
    charts: list[DrawnChart]


class ProgramJson(TypedDict):
    """Data with which the script draws and formats the metrics of the program."""

    metrics: dict[str, dict[str, str | int | None]]
    charts: list[dict[str, JsonValue]]
    objective: str
    headline: str


class SnapshotJson(TypedDict):
    """What job.js starts from. Times are ISO 8601."""

    job: dict[str, JsonValue]
    state: str
    columns: chart_series.MetricsJson
    ends: list[str]
    gaps: list[int]
    program: ProgramJson
    headline_value: float | None
    reference_errors: ReferenceErrorsJson
    test_rmse: float | None
    last_event_at: str
    lease_seconds: float
    silent_after_seconds: float
    now: str
    table_rows: int


class EvaluationDrawings(TypedDict, total=False):
    """The drawings of an evaluation; an older evaluation has fewer."""

    cdf: SafeString
    map: SafeString


class JobContext(EvaluationDrawings):
    """The context of job.html."""

    job: Job
    state: str
    may: dict[str, bool]
    located_with: TrainedModel | None
    origin: Job | None
    parent: Job | None
    waits_for: str
    active: bool
    progress: str
    rows: list[Epoch]
    newest: dict[str, float | None]
    speed: float | None
    program: Program
    headline_help: str
    figures: list[Metric]
    table: Sequence[EpochColumn]
    chart_sections: list[ChartSection]
    chart_axes: Sequence[tuple[str, str]]
    charts_left: int
    reference_errors: ReferenceErrors
    bound_ratio: float | None
    evaluation: Evaluation | None
    timeline: list[status.TimelineEntry]
    config: list[ConfigRow]
    hidden_parameters: int
    log: LogTail
    log_excerpt: list[str]
    system: SystemColumns
    system_charts: list[DrawnSystemChart]
    memory_limit: float | None
    metric_rows: list[MetricRow]
    metrics_left: int


@dataclass(frozen=True)
class Snapshot:
    """One job at a moment; events with a greater seq come over the socket."""

    job: Job
    viewer: User
    program: Program
    model: TrainedModel | None
    columns: chart_series.MetricsJson
    ends: list[datetime]
    gaps: list[int]

    @classmethod
    def of(cls, job: Job, viewer: User) -> Snapshot:
        """`job` was read first, so what is read here is at least as new as its seq."""
        program = observed_program(job)
        names = [name for chart in program.charts[:EMBEDDED_CHARTS] for name in chart.metrics]
        model = TrainedModel.objects.filter(job=job).first()
        return cls(
            job=job,
            viewer=viewer,
            program=program,
            model=model,
            columns=chart_series.metrics_json(
                job, list(dict.fromkeys(names)), CHART_POINTS, with_repeats=True
            ),
            ends=progress.epoch_ends(job),
            gaps=progress.resumed_epochs(job),
        )

    @property
    def evaluation(self) -> Evaluation | None:
        return self.model.evaluation if self.model else None

    @property
    def usable_model(self) -> TrainedModel | None:
        return self.model if self.model and model_file(self.model).exists() else None

    @property
    def origin(self) -> Job | None:
        """The job whose weights it starts from, if the viewer may see it."""
        return self._visible_job(origin_id(self.job))

    @property
    def parent(self) -> Job | None:
        """The job that it was cloned from, if the viewer may see it."""
        return self._visible_job(self.job.parent_id)

    def _visible_job(self, pk: UUID | None) -> Job | None:
        if pk is None:
            return None
        return visible_by_key(Job.objects.filter(pk=pk), self.viewer).first()

    def for_script(self) -> SnapshotJson:
        events = JobEvent.objects.filter(job=self.job, seq=self.job.seq)
        last_event_at = events.values_list("at", flat=True).first()
        return {
            "job": JobSerializer(self.job).data,
            "state": self.job.display_status,
            "columns": self.columns,
            "ends": [timestamp(end) for end in self.ends],
            "gaps": self.gaps,
            "program": program_as_json(self.program),
            "headline_value": self.job.headline_value,
            "reference_errors": reference_errors(self.job, self.evaluation).as_json(),
            "test_rmse": test_rmse(self.evaluation),
            "last_event_at": timestamp(last_event_at) if last_event_at else "",
            "lease_seconds": status.lease_seconds(self.job),
            "silent_after_seconds": (
                status.SILENT_AFTER_LEASE_SHARE * status.lease_seconds(self.job)
            ),
            "now": timestamp(timezone.now()),
            "table_rows": TABLE_ROWS,
        }

    def for_template(self, attempt: int | None = None) -> JobContext:
        """`attempt` is that of the log; by default the newest."""
        log = LogTail.of(self.job, attempt)
        system = system_figures.columns(self.job, SYSTEM_POINTS)
        rows = list(self.job.epochs.order_by("-epoch")[:TABLE_ROWS])
        newest = rows[0].metrics if rows else {}
        references = reference_errors(self.job, self.evaluation)
        parent = self.parent
        return {
            "job": self.job,
            "state": self.job.display_status,
            "may": status.allowed_actions(self.job),
            "located_with": self.usable_model,
            "origin": self.origin,
            "parent": parent,
            "waits_for": Capacity().waits_for(self.job),
            "active": self.job.status in ("queued", "running"),
            "progress": progress_text(self.job, self.ends),
            "rows": rows,
            "newest": newest,
            "speed": progress.seconds_per_epoch(self.ends),
            "program": self.program,
            "headline_help": formatting.headline_help(self.program),
            "figures": [self.program.metrics[name] for name in self.program.figures],
            "table": epoch_columns(self.program),
            "chart_sections": [
                ChartSection(name, [self._draw(chart, references) for chart in charts])
                for name, charts in groupby(
                    self.program.charts[:EMBEDDED_CHARTS], attrgetter("section")
                )
            ],
            "chart_axes": CHART_AXES,
            "charts_left": max(0, len(self.program.charts) - EMBEDDED_CHARTS),
            "reference_errors": references,
            "bound_ratio": bound_ratio(self.job, references, test_rmse(self.evaluation)),
            "evaluation": self.evaluation,
            "timeline": status.timeline(self.job),
            "config": config_rows(self.job, parent),
            "hidden_parameters": count_hidden(self.job),
            "log": log,
            "system": system,
            "system_charts": draw_system_charts(system),
            "memory_limit": next(
                (one for one in reversed(system.series.get("memory_limit", [])) if one), None
            ),
            "metric_rows": metric_rows(self.job, self.program, METRIC_ROWS),
            "metrics_left": max(0, len(self.program.metrics) - METRIC_ROWS),
            "log_excerpt": terminal.from_traceback(log.lines, EXCERPT_LINES),
            **chart_drawings(self.evaluation),
        }

    def _draw(self, chart: Chart, references: ReferenceErrors) -> DrawnChart:
        metrics = [self.program.metrics[name] for name in chart.metrics]
        has_levels = bool(self.program.datasets) and self.program.headline in chart.metrics
        levels = {
            "bound": (references.bound, "Cramér-Rao bound"),
            "baseline": (references.baseline, references.baseline_name),
        }
        axis, xs = chart_series.x_axis(self.columns)
        series = [self.columns["series"][name] for name in chart.metrics]
        # Where the metrics of a chart come at different steps, the steps of others are no gaps.
        rows = list(range(len(xs)))
        if axis == "step":
            rows = [row for row in rows if any(one[row] is not None for one in series)]
        title = f"{chart.title} by {axis}"
        if len(set(self.columns["step"])) < len(xs) and axis != "epoch":
            lines = {f"series-{index}": _points(axis, xs, one) for index, one in enumerate(series)}
            has_values = any(ys for _, ys in lines.values())
            format_x = formatting.format_duration if axis == "time" else None
            curves = comparison_chart(
                title, lines, tick_formatter(metrics[0]), format_x, chart.logarithmic
            )
            return DrawnChart(chart.name, chart.title, metrics, has_levels, has_values, curves)
        curves = line_chart(
            title,
            [xs[row] for row in rows],
            {f"series-{index}": [one[row] for row in rows] for index, one in enumerate(series)},
            tick_formatter(metrics[0]),
            levels if has_levels else {},
            self.gaps if axis == "epoch" else (),
            chart.logarithmic,
        )
        has_values = any(value is not None for one in series for value in one)
        return DrawnChart(chart.name, chart.title, metrics, has_levels, has_values, curves)


def _points(
    axis: str, xs: Sequence[float], values: Sequence[float | None]
) -> tuple[Sequence[float], Sequence[float]]:
    """The values of a series that repeats steps: all of them by time, else the last per step."""
    found = [(x, value) for x, value in zip(xs, values, strict=True) if value is not None]
    kept = sorted(found, key=itemgetter(0)) if axis == "time" else list(dict(found).items())
    return [x for x, _ in kept], [value for _, value in kept]


def observed_program(job: Job) -> Program:
    """The job's program with declarations for all metrics that the job reported."""
    observed = chart_series.series_names(job)
    return declare_observed(describe_program(job.program), observed, _objective(job))


def _objective(job: Job) -> Objective | None:
    """The objective of a reported job, whose program has none."""
    if not job.objective_metric:
        return None
    direction: Direction = "maximize" if job.objective_direction == "maximize" else "minimize"
    return Objective(metric=job.objective_metric, direction=direction)


def program_as_json(program: Program) -> ProgramJson:
    return {
        "metrics": program.metrics.as_json(),
        "charts": [chart.model_dump() for chart in program.charts],
        "objective": program.objective_metric,
        "headline": program.headline_name,
    }


def epoch_columns(program: Program) -> Sequence[EpochColumn]:
    """The columns of the table of epochs; narrow screens show those that decide and the figures."""
    narrow = {program.objective_metric, program.headline_name, *program.figures}
    return [EpochColumn(program.metrics[name], name not in narrow) for name in program.table]


def chart_drawings(evaluation: Evaluation | None) -> EvaluationDrawings:
    found: EvaluationDrawings = {}
    if not evaluation:
        return found
    cdf = evaluation.get("cdf")
    if cdf:
        others = enumerate(cdf.get("baselines", {}).values())
        named = {f"other-{index}": (meters, cdf["share"]) for index, meters in others}
        found["cdf"] = cdf_chart({**named, "model": (cdf["model"], cdf["share"])})
    points = evaluation.get("points")
    if points and points.get("target"):
        found["map"] = error_map(points)
    return found


def progress_text(job: Job, ends: list[datetime]) -> str:
    """The text next to the progress bar; progress.js has the same function."""
    share = f"{formatting.format_fixed(job.progress_percent, 0)} %"
    if job.kind == Job.Kind.GENERATION:
        return f"{job.generated:,} of {int(job.config.get('samples', 0)):,} samples, {share}"
    if job.reported_percent is None and not job.total_epochs:
        return f"Epoch {job.current_epoch:,}"
    text = share
    if job.total_epochs:
        text = f"Epoch {job.current_epoch:,} of {job.total_epochs:,}, {share}"
    if job.status == Status.RUNNING and 0 < job.total_epochs == job.current_epoch:
        return f"{text}, {'evaluating on the test set' if job.dataset_id else 'finishing'}"
    left = formatting.format_eta(progress.seconds_left(job, ends))
    if not left:
        return text
    return f"{text}, {'at most ' if progress.may_stop_early(job) else ''}about {left} left"


def test_rmse(evaluation: Evaluation | None) -> float | None:
    return evaluation["test"].get("rmse_m") if evaluation and "test" in evaluation else None


def bound_ratio(
    job: Job, references: ReferenceErrors, measured: float | None = None
) -> float | None:
    """The error on the test split (until it is `measured`: on the validation split) divided by the
    bound."""
    error = job.headline_value if measured is None else measured
    if not references.bound or error is None:
        return None
    return error / references.bound


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of the log of an attempt: at most 200 lines; `size` counts the whole output."""

    attempt: int
    attempts: range
    size: int
    lines: list[str]

    @classmethod
    def of(cls, job: Job, attempt: int | None = None) -> LogTail:
        newest = max(job.attempt, 1)
        chosen = attempt if attempt and attempt <= newest else newest
        tail = logs.attempt_log(job.pk, chosen).tail(LOG_BYTES)
        lines = terminal.plain_lines(tail.data.decode(errors="replace"))[-LOG_LINES:]
        return cls(chosen, range(1, newest + 1), tail.end, lines)


def epochs_before(job: Job, before: int, count: int) -> list[Epoch]:
    return list(job.epochs.filter(epoch__lt=before).order_by("-epoch")[:count])
