"""Formats numbers, durations and sizes; formatting.js formats them the same way."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TypeGuard

from training.programs.manifest import Program
from training.programs.metrics import Metric

MISSING = "–"
# Steps to which the remaining time is rounded, in seconds.
ETA_STEPS = (1, 5, 30, 60, 300, 600, 3600)


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def formatter(metric: Metric) -> Callable[[float | None], str]:
    """How values of this metric are printed."""
    match metric.format:
        case "distance":
            return format_distance
        case "percent":
            return format_percent
        case "duration":
            return format_duration
        case _:
            return partial(format_number, digits=metric.digits)


def headline_title(program: Program) -> str:
    return f"{program.headline_metric.title} (best epoch)"


def headline_help(program: Program) -> str:
    """The best epoch is that of the objective, so a better headline value may exist."""
    extreme = "lowest" if program.objective.direction == "minimize" else "highest"
    objective = program.metrics[program.objective.metric].title.lower()
    return (
        f"{program.headline_metric.title} at the epoch with the {extreme} {objective}; "
        "its checkpoint is kept"
    )


def format_distance(value: float | None) -> str:
    """Format metres: 34.2 m, 340 m, 34.20 km."""
    if not _is_finite(value):
        return MISSING
    if abs(value) >= 10_000:
        return f"{value / 1000:.2f} km"
    return f"{value:.0f} m" if abs(value) >= 100 else f"{value:.1f} m"


def format_number(value: float | None, digits: int = 4) -> str:
    """Format with `digits` significant digits."""
    if not _is_finite(value):
        return MISSING
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e6:
        mantissa, exponent = f"{value:.{digits - 2}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def format_percent(share: float | None, digits: int = 1) -> str:
    if not _is_finite(share):
        return MISSING
    return f"{100 * share:.{digits}f} %"


def format_duration(seconds: float | None) -> str:
    """12 s, 5 min 3 s, 2 h 5 min, 3 d 4 h."""
    if not _is_finite(seconds):
        return MISSING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def format_eta(seconds: float | None) -> str:
    """Format the remaining time, rounded by at most a twentieth."""
    if not _is_finite(seconds):
        return ""
    step = max(step for step in ETA_STEPS if step <= max(1, 0.08 * seconds))
    text = format_duration(max(1, step * math.floor(seconds / step + 0.5)))
    return text.replace(" 0 s", "").replace(" 0 min", "").replace(" 0 h", "")


def format_rate(seconds: float | None) -> tuple[str, str]:
    """Number and unit of the training speed: 2.1 epochs/s, 12 s per epoch."""
    if not _is_finite(seconds) or seconds <= 0:
        return MISSING, ""
    if seconds < 1:
        return format_number(1 / seconds, 2), "epochs/s"
    if seconds >= 60:
        return format_duration(seconds), "per epoch"
    return f"{format_number(seconds, 2)} s", "per epoch"


def format_age(then: datetime | None, now: datetime) -> str:
    """Format the age in its largest unit: 3 min ago."""
    if then is None:
        return MISSING
    seconds = max(0, int((now - then).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def format_size(count: int) -> str:
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"
