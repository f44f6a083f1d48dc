"""Charts and columns for metrics that a training reports but its program does not declare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from heimdall_sdk.event_values import PERCENTILES
from heimdall_sdk.messages import Objective
from training.programs.manifest import Program
from training.programs.metrics import Chart, Metric, MetricRegistry

# Metrics that differ in the split, the rank or the percentile only are drawn into one chart:
# train_loss, val/loss, eval_loss; loss/rank0, loss/rank1; weights/p05, weights/p50.
_SPLIT = re.compile(r"^(?:train(?:ing)?|val(?:id(?:ation)?)?|test|eval(?:uation)?)[_/. -]+")
_RANK = re.compile(r"(?:[_/. -]+rank[_/. -]?[0-9]+$|^rank[_/. -]?[0-9]+[_/. -]+)")
_PERCENTILE = re.compile(rf"/p(?:{'|'.join(f'{one:02}' for one in PERCENTILES)})$")
_NUMBERS = re.compile(r"([0-9]+)")
_OBSERVED = "observed-"
MAX_COLUMNS = 8
MAX_FIGURES = 3


def declare_observed(
    program: Program, observed: Iterable[str], objective: Objective | None = None
) -> Program:
    """The program with declarations for all metrics of a job, the objective first.

    `objective` is that of the job, where the program has none.
    """
    objective = program.objective or objective
    first = objective.metric if objective else ""
    declared = program.metrics
    reported = set(observed)
    names = sorted(reported, key=lambda name: (name != first, _natural(name)))
    new = [name for name in names if name not in declared]
    # A program that declares charts has chosen which of its metrics have one. Charts that group
    # the rest of them, such as `val_loss`, are drawn together with what is new, `train_loss`.
    chosen = [chart for chart in program.charts if not chart.name.startswith(_OBSERVED)]
    grouped = {name for chart in program.charts if chart not in chosen for name in chart.metrics}
    without_chart = (
        [*(name for name in declared if name in grouped), *new]
        if program.charts
        else [name for name in (*declared, *new) if name in reported]
    )
    if not new and (program.charts or not without_chart):
        return program
    table = dict.fromkeys((*program.table, *new))
    charts = (*chosen, *group_into_charts(without_chart))
    return replace(
        program,
        metrics=MetricRegistry(
            *declared.values(), *(Metric(name=name, title=title_of(name)) for name in new)
        ),
        objective=objective if first in declared or first in reported else program.objective,
        charts=tuple(order_by_section(charts, first)),
        table=tuple(table)[: max(MAX_COLUMNS, len(program.table))],
        figures=program.figures or tuple(table)[:MAX_FIGURES],
    )


def group_into_charts(names: Iterable[str]) -> list[Chart]:
    """Charts whose name and section depend on the names of their metrics only."""
    groups: dict[str, list[str]] = {}
    for name in names:
        shared = _without_variant(name)
        groups.setdefault(_SPLIT.sub("", shared) or shared or name, []).append(name)
    return [
        Chart(
            name=_identifier(key),
            title=title_of(_common_name(key, metrics)),
            metrics=tuple(metrics),
            section=_common_prefix(metrics),
        )
        for key, metrics in groups.items()
    ]


def order_by_section(charts: Iterable[Chart], objective: str) -> list[Chart]:
    """The chart of the objective first, and the others of its section; then by section."""
    found = list(charts)
    first = next((chart.section for chart in found if objective in chart.metrics), "")
    return sorted(
        found,
        key=lambda chart: (
            chart.section != first,
            bool(chart.section),
            _natural(chart.section),
            objective not in chart.metrics if chart.section == first else False,
        ),
    )


def title_of(name: str) -> str:
    """`val_loss` as words: Val loss."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:] if words else name


def _without_variant(name: str) -> str:
    return _PERCENTILE.sub("", _RANK.sub("", name))


def _common_name(key: str, metrics: Sequence[str]) -> str:
    """The name of the only metric, else what all have in common."""
    return metrics[0] if len(metrics) == 1 else key


def _common_prefix(metrics: Sequence[str]) -> str:
    """The part before the first slash, if it is the same in all."""
    prefixes = {name.partition("/")[0] if "/" in _without_variant(name) else "" for name in metrics}
    return prefixes.pop() if len(prefixes) == 1 else ""


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts layer2 before layer10."""
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in _NUMBERS.split(name)
        if part
    ]


def _identifier(key: str) -> str:
    """For an attribute of HTML: letters and digits remain, other characters become their code."""
    return _OBSERVED + re.sub(r"[^a-zA-Z0-9]", lambda found: f"_{ord(found[0]):x}", key)
