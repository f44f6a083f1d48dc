"""The columns of the list of jobs that a user chooses: parameters, metrics and facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from pydantic import JsonValue

from training.api.metric_filter import PREFIX as METRIC
from training.api.parameter_filter import PREFIX as PARAMETER
from training.models import Job
from training.programs.charts import title_of
from training.programs.manifest import Program
from training.programs.metrics import Metric
from training.programs.registry import describe_program
from training.web import formatting

MAX_OPTIONS = 40


def _duration(job: Job) -> str:
    if job.started_at is None or job.finished_at is None:
        return formatting.MISSING
    return formatting.format_duration((job.finished_at - job.started_at).total_seconds())


FACTS: dict[str, tuple[str, Callable[[Job], str]]] = {
    "duration": ("Duration", _duration),
    "project": ("Project", lambda job: job.project_name),
    "program": ("Program", lambda job: describe_program(job.program).title),
    "owner": ("Owner", lambda job: job.owner.username),
    "tags": ("Tags", lambda job: ", ".join(job.tags) or formatting.MISSING),
}


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    metric: Metric | None = None  # that a script keeps up to date


@dataclass(frozen=True, slots=True)
class Column:
    """`name` is a fact, `param.NAME` or `metric.NAME`."""

    name: str
    title: str
    cell_of: Callable[[Job], Cell]


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    title: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class OptionGroup:
    title: str
    options: list[Option]


def columns_of(names: Sequence[str], jobs: Sequence[Job]) -> list[Column]:
    """The columns of known kinds; a column whose name no job has is empty."""
    programs = _programs(jobs)
    return [column for name in names if (column := _column(name, programs))]


def _programs(jobs: Sequence[Job]) -> dict[str, Program]:
    return {name: describe_program(name) for name in dict.fromkeys(job.program for job in jobs)}


def _column(name: str, programs: dict[str, Program]) -> Column | None:
    if name in FACTS:
        title, text_of = FACTS[name]
        return Column(name, title, lambda job: Cell(text_of(job)))
    if name.startswith(PARAMETER):
        parameter = name.removeprefix(PARAMETER)
        return Column(
            name,
            _parameter_title(parameter, programs),
            lambda job: Cell(_parameter_text(job.config.get(parameter))),
        )
    if name.startswith(METRIC):
        metric = name.removeprefix(METRIC)
        return Column(
            name,
            _metric_title(metric, programs),
            lambda job: _metric_cell(job, programs[job.program].metrics.describe(metric)),
        )
    return None


def _parameter_text(value: JsonValue) -> str:
    return formatting.format_parameter(value)[:60]


def _metric_cell(job: Job, metric: Metric) -> Cell:
    return Cell(formatting.formatter(metric)(job.summary.get(metric.name)), metric)


def _parameter_title(name: str, programs: dict[str, Program]) -> str:
    for program in programs.values():
        if name in program.parameters.model_fields:
            return program.parameters.model_fields[name].title or title_of(name)
    return name


def _metric_title(name: str, programs: dict[str, Program]) -> str:
    for program in programs.values():
        if name in program.metrics:
            return program.metrics[name].title
    return name


def option_groups(chosen: Sequence[str], jobs: Sequence[Job]) -> list[OptionGroup]:
    """The columns that the jobs of a page have, and those already chosen."""
    trainings = [job for job in jobs if job.kind == Job.Kind.TRAINING]
    programs = _programs(trainings)
    parameters = dict.fromkeys(name for job in trainings for name in job.config)
    metrics = dict.fromkeys(
        [name for program in programs.values() for name in program.metrics]
        + [name for job in trainings for name in job.summary]
    )
    groups = {
        "General": {name: title for name, (title, _) in FACTS.items()},
        "Parameters": {
            PARAMETER + name: _parameter_title(name, programs)
            for name in islice(parameters, MAX_OPTIONS)
        },
        "Metrics (latest)": {
            METRIC + name: _metric_title(name, programs) for name in islice(metrics, MAX_OPTIONS)
        },
    }
    for name in chosen:
        if name.startswith(PARAMETER):
            groups["Parameters"].setdefault(name, name.removeprefix(PARAMETER))
        elif name.startswith(METRIC):
            groups["Metrics (latest)"].setdefault(name, name.removeprefix(METRIC))
    return [
        OptionGroup(title, [Option(name, label, name in chosen) for name, label in options.items()])
        for title, options in groups.items()
        if options
    ]
