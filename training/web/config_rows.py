"""The configuration of a job as rows of a page, with what changed since the cloned job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from training.models import Job
from training.programs.registry import describe_program
from training.web import formatting

# A run of another tool may have thousands of parameters; the API returns all.
MAX_ROWS, MAX_TEXT = 200, 300


@dataclass(frozen=True, slots=True)
class ConfigRow:
    title: str
    value: str
    before: str  # in the job that this one was cloned from
    changed: bool


def config_rows(job: Job, parent: Job | None = None) -> list[ConfigRow]:
    """`parent` is the cloned job, if the reader may see it."""
    config = parent.config if parent else {}
    return [
        ConfigRow(
            title=title,
            value=_text(job.config[name]),
            before=_text(config.get(name)),
            changed=bool(config) and config.get(name) != job.config[name],
        )
        for name, title in islice(_titles(job), MAX_ROWS)
    ]


def count_hidden(job: Job) -> int:
    """The parameters beyond MAX_ROWS."""
    return max(0, sum(1 for _ in _titles(job)) - MAX_ROWS)


def _titles(job: Job) -> Iterator[tuple[str, str]]:
    """Names and titles: those that the program declares, then those of a run that it does not."""
    program = describe_program(job.program)
    if job.kind == Job.Kind.TRAINING:
        declared = program.parameters.model_fields
    else:
        declared = program.dataset_format.generation_options.model_fields
    names: Iterable[str] = dict.fromkeys([*declared, *job.config])
    for name in names:
        if name in job.config and not (name == "receivers" and name in declared):
            yield name, (declared[name].title or name) if name in declared else name


def _text(value: object) -> str:
    text = formatting.format_parameter(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
