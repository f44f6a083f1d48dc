"""Formats the ticks of an axis; formatting.js formats them the same way."""

from __future__ import annotations

from collections.abc import Callable

from training.programs.metrics import Metric
from training.web import formatting
from training.web.charts.line_charts import short_distance


def tick_formatter(metric: Metric) -> Callable[[float], str]:
    match metric.format:
        case "distance":
            return short_distance
        case "number":
            return lambda tick: f"{float(f'{tick:.4g}'):g}"
        case _:
            return formatting.formatter(metric)
