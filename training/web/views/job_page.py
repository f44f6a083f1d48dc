"""All that a job's page shows, read once: for the template, and for the script that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.safestring import SafeString

from realtime.events import timestamp
from training.api.serializers.jobs import JobSerializer
from training.jobs import chart_series, progress, reference_errors, status
from training.jobs.directories import attempt_directory
from training.models import Epoch, Job, TrainedModel
from training.models.states import Status
from training.programs.registry import get_program
from training.web import formatting
from training.web.charts.line_charts import Level, cdf_chart, line_chart, short_distance
from training.web.charts.maps import error_map
from training.workers.registry import Capacity

# A chart has about as many pixels across.
CHART_POINTS = 800
TABLE_ROWS = 50
LOSS, ERROR = (chart.metrics for chart in get_program().charts)
LOG_LINES = 12


@dataclass(frozen=True)
class Snapshot:
    """One job as it is; what is newer than its seq comes over the socket."""

    job: Job
    model: TrainedModel | None
    columns: chart_series.Columns
    ends: list[datetime]
    gaps: list[int]

    @classmethod
    def of(cls, job: Job) -> Snapshot:
        """`job` was read first, so what is read here is at least as new as its seq."""
        model = TrainedModel.objects.filter(job=job).first()
        return cls(
            job=job,
            model=model,
            columns=chart_series.columns(job, [*LOSS, *ERROR], CHART_POINTS),
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
            "yardsticks": reference_errors.reference_errors(self.job, self.evaluation).as_json(),
            "lease_seconds": settings.LEASE_SECONDS,
            "silent_after_seconds": status.SILENT_AFTER_LEASE_SHARE * settings.LEASE_SECONDS,
            "now": timestamp(timezone.now()),
            "table_rows": TABLE_ROWS,
        }

    def for_template(self) -> dict[str, Any]:
        rows = list(self.job.epochs.order_by("-epoch")[:TABLE_ROWS])
        newest = rows[0].metrics if rows else {}
        references = reference_errors.reference_errors(self.job, self.evaluation)
        return {
            "job": self.job,
            "state": self.job.display_status,
            "may": status.allowed_actions(self.job),
            "waits_for": Capacity().waits_for(self.job),
            "active": self.job.status in ("queued", "running"),
            "progress": progress_text(self.job, self.ends),
            "rows": rows,
            "newest": newest,
            "pace": progress.seconds_per_epoch(self.ends),
            "yardsticks": references,
            "times_bound": times_bound(self.job, references),
            "evaluation": self.evaluation,
            "timeline": status.timeline(self.job),
            "config": config_rows(self.job),
            "last_words": log_tail(self.job),
            "loss_curves": self._curves(
                "Loss over the epochs", LOSS, lambda tick: f"{tick:.4g}", {}
            ),
            "error_curves": self._curves(
                "Position error over the epochs",
                ERROR,
                short_distance,
                {
                    "bound": (references.bound, "Cramér-Rao bound"),
                    "baseline": (references.baseline, references.baseline_name),
                },
                log=True,
            ),
            **chart_drawings(self.evaluation),
        }

    def _curves(
        self,
        label: str,
        names: tuple[str, ...],
        format_value: Any,
        levels: dict[str, Level],
        log: bool = False,
    ) -> SafeString:
        lines = {name: self.columns.series[name] for name in names}
        return line_chart(label, self.columns.epoch, lines, format_value, levels, self.gaps, log)


def chart_drawings(evaluation: dict[str, Any] | None) -> dict[str, SafeString]:
    """What of an evaluation can be drawn; an older one has less."""
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
    """The line beside the bar; job.js says the same."""
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


def times_bound(job: Job, references: reference_errors.ReferenceErrors) -> float | None:
    if not references.bound or job.headline_value is None:
        return None
    return job.headline_value / references.bound


def config_rows(job: Job) -> list[dict[str, Any]]:
    """What was chosen, and where it differs from the job that this one was cloned from."""
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
    """The end of the log of a failed attempt, where this machine has it."""
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
