"""The content of a job's page, read once: for its template and for its script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.safestring import SafeString

from realtime.events import timestamp
from training.api.serializers.jobs import JobSerializer
from training.jobs import chart_series, progress, status
from training.jobs.directories import attempt_directory
from training.jobs.reference_errors import ReferenceErrors, reference_errors
from training.models import Epoch, Job, TrainedModel
from training.models.states import Status
from training.programs.manifest import Program
from training.programs.metrics import Chart, Metric
from training.programs.registry import get_program
from training.web import formatting
from training.web.charts.line_charts import cdf_chart, line_chart
from training.web.charts.maps import error_map
from training.web.charts.ticks import tick_formatter
from training.workers.registry import Capacity

# About as many as a chart is wide in pixels.
CHART_POINTS = 800
TABLE_ROWS = 50
LOG_LINES = 12


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
    curves: SafeString


@dataclass(frozen=True)
class Snapshot:
    """One job at a moment; events with a greater seq come over the socket."""

    job: Job
    program: Program
    model: TrainedModel | None
    columns: chart_series.Columns
    ends: list[datetime]
    gaps: list[int]

    @classmethod
    def of(cls, job: Job) -> Snapshot:
        """`job` was read first, so what is read here is at least as new as its seq."""
        program = get_program(job.program)
        names = [name for chart in program.charts for name in chart.metrics]
        model = TrainedModel.objects.filter(job=job).first()
        return cls(
            job=job,
            program=program,
            model=model,
            columns=chart_series.columns(job, list(dict.fromkeys(names)), CHART_POINTS),
            ends=progress.epoch_ends(job),
            gaps=progress.resumed_epochs(job),
        )

    @property
    def evaluation(self) -> dict[str, Any] | None:
        return self.model.evaluation if self.model else None

    def for_script(self) -> dict[str, Any]:
        return {
            "job": JobSerializer(self.job).data,
            "state": self.job.display_status,
            "columns": self.columns.as_json(),
            "ends": [timestamp(end) for end in self.ends],
            "gaps": self.gaps,
            "program": program_as_json(self.program),
            "headline_value": self.job.headline_value,
            "reference_errors": reference_errors(self.job, self.evaluation).as_json(),
            "lease_seconds": settings.LEASE_SECONDS,
            "silent_after_seconds": status.SILENT_AFTER_LEASE_SHARE * settings.LEASE_SECONDS,
            "now": timestamp(timezone.now()),
            "table_rows": TABLE_ROWS,
        }

    def for_template(self) -> dict[str, Any]:
        rows = list(self.job.epochs.order_by("-epoch")[:TABLE_ROWS])
        newest = rows[0].metrics if rows else {}
        references = reference_errors(self.job, self.evaluation)
        return {
            "job": self.job,
            "state": self.job.display_status,
            "may": status.allowed_actions(self.job),
            "waits_for": Capacity().waits_for(self.job),
            "active": self.job.status in ("queued", "running"),
            "progress": progress_text(self.job, self.ends),
            "rows": rows,
            "newest": newest,
            "speed": progress.seconds_per_epoch(self.ends),
            "program": self.program,
            "figures": [self.program.metrics[name] for name in self.program.figures],
            "table": epoch_columns(self.program),
            "charts": [self._draw(chart, references) for chart in self.program.charts],
            "reference_errors": references,
            "bound_ratio": bound_ratio(self.job, references),
            "evaluation": self.evaluation,
            "timeline": status.timeline(self.job),
            "config": config_rows(self.job),
            "log_tail": log_tail(self.job),
            **chart_drawings(self.evaluation),
        }

    def _draw(self, chart: Chart, references: ReferenceErrors) -> DrawnChart:
        metrics = [self.program.metrics[name] for name in chart.metrics]
        has_levels = self.program.headline in chart.metrics
        levels = {
            "bound": (references.bound, "Cramér-Rao bound"),
            "baseline": (references.baseline, references.baseline_name),
        }
        curves = line_chart(
            f"{chart.title} by epoch",
            self.columns.epoch,
            {
                f"series-{index}": self.columns.series[name]
                for index, name in enumerate(chart.metrics)
            },
            tick_formatter(metrics[0]),
            levels if has_levels else {},
            self.gaps,
            chart.logarithmic,
        )
        return DrawnChart(chart.name, chart.title, metrics, has_levels, curves)


def program_as_json(program: Program) -> dict[str, Any]:
    """What the script needs to draw and print the metrics of the program."""
    return {
        "metrics": program.metrics.as_json(),
        "charts": [chart.model_dump() for chart in program.charts],
        "objective": program.objective.metric,
        "headline": program.headline,
    }


def epoch_columns(program: Program) -> Sequence[EpochColumn]:
    """The columns of the table of epochs; narrow screens show those that decide and the figures."""
    narrow = {program.objective.metric, program.headline, *program.figures}
    return [EpochColumn(program.metrics[name], name not in narrow) for name in program.table]


def chart_drawings(evaluation: dict[str, Any] | None) -> dict[str, SafeString]:
    """The drawings of an evaluation; an older evaluation has fewer."""
    found: dict[str, SafeString] = {}
    if not evaluation:
        return found
    cdf = evaluation.get("cdf")
    if cdf:
        others = enumerate(cdf.get("baselines", {}).values())
        named = {f"other-{index}": (metres, cdf["share"]) for index, metres in others}
        found["cdf"] = cdf_chart({**named, "model": (cdf["model"], cdf["share"])})
    points = evaluation.get("points")
    if points and points.get("target"):
        found["map"] = error_map(points)
    return found


def progress_text(job: Job, ends: list[datetime]) -> str:
    """The text next to the progress bar; progress.js has the same function."""
    share = f"{job.progress_percent:.0f} %"
    if job.kind == Job.Kind.GENERATION:
        return f"{job.generated:,} of {int(job.config.get('samples', 0)):,} samples, {share}"
    text = f"Epoch {job.current_epoch:,} of {job.total_epochs:,}, {share}"
    if job.status == Status.RUNNING and job.current_epoch == job.total_epochs:
        return f"{text}, evaluating on the test set"
    left = formatting.format_eta(progress.seconds_left(job, ends))
    if not left:
        return text
    return f"{text}, {'at most ' if progress.may_stop_early(job) else ''}about {left} left"


def bound_ratio(job: Job, references: ReferenceErrors) -> float | None:
    if not references.bound or job.headline_value is None:
        return None
    return job.headline_value / references.bound


def config_rows(job: Job) -> list[dict[str, Any]]:
    """The configuration, and where it differs from the job that this one was cloned from."""
    program = get_program(job.program)
    if job.kind == Job.Kind.TRAINING:
        model = program.parameters
    else:
        model = program.dataset_format.generation_options
    parent = job.parent.config if job.parent else {}
    rows = []
    for name, info in model.model_fields.items():
        if name == "receivers" or name not in job.config:
            continue
        before = parent.get(name)
        changed = bool(parent) and before != job.config[name]
        rows.append(
            {"name": name, "title": info.title, "value": _format_value(job.config[name]),
             "before": _format_value(before), "changed": changed}
        )  # fmt: skip
    return rows


def _format_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return formatting.MISSING if value is None else value


def log_tail(job: Job) -> list[str]:
    """The end of the log of a failed attempt, if it is on this machine."""
    if job.status != "failed":
        return []
    log = attempt_directory(job.pk, job.attempt) / "trainer.log"
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.strip().splitlines()[-LOG_LINES:]


def epochs_before(job: Job, before: int, count: int) -> list[Epoch]:
    """The newest epochs older than `before`."""
    return list(job.epochs.filter(epoch__lt=before).order_by("-epoch")[:count])
