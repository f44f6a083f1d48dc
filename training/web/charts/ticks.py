"""Formats the ticks of an axis; formatting.js formats them the same way."""

from __future__ import annotations

from collections.abc import Callable

from training.programs.metrics import Metric
from training.web import formatting


def tick_formatter(metric: Metric) -> Callable[[float], str]:
    match metric.format:
        case "distance":
            return formatting.format_distance_tick
        case "number":
            return formatting.format_tick
        case _:
            return formatting.formatter(metric)
