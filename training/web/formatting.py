"""Formats numbers, durations and sizes; formatting.js formats them the same way."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import partial
from typing import TypeGuard

from training.programs.manifest import Program
from training.programs.metrics import Metric

MISSING = "–"
# Larger numbers are shown in exponential notation.
VAST = 1e10
# Steps to which the remaining time is rounded, in seconds.
ETA_STEPS = (1, 5, 30, 60, 300, 600, 3600)


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def format_fixed(value: float, decimals: int = 0) -> str:
    """A fixed number of decimals, and commas between thousands; halves are rounded up.

    Browsers round the shortest digits of a number (0.15), not its exact value (0.1499999…).
    """
    return _format(Decimal(repr(float(value))), f",.{decimals}f")


def _format(value: Decimal, spec: str) -> str:
    with localcontext(rounding=ROUND_HALF_UP):
        text = format(value, spec)
    # A zero has no sign.
    return text if any(digit in text for digit in "123456789") else text.removeprefix("-")


def formatter(metric: Metric) -> Callable[[float | None], str]:
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


def short_headline_title(program: Program) -> str:
    return f"{program.headline_metric.label} (best epoch)"


def headline_help(program: Program) -> str:
    """The best epoch is that of the objective, so a better headline value may exist."""
    if program.objective is None:
        return "This program declares no objective"
    extreme = "lowest" if program.objective.direction == "minimize" else "highest"
    objective = program.metrics[program.objective.metric].title.lower()
    return (
        f"{program.headline_metric.title} at the epoch with the {extreme} {objective}; "
        "its checkpoint is kept"
    )


def format_distance(value: float | None) -> str:
    """Format meters: 34.2 m, 340 m, 3,400 m, 34.20 km."""
    if not _is_finite(value):
        return MISSING
    if abs(value) >= VAST:
        return f"{format_number(value / 1000)} km"
    if abs(value) >= 10_000:
        return f"{format_fixed(value / 1000, 2)} km"
    return f"{format_fixed(value, 0 if abs(value) >= 100 else 1)} m"


def format_area(kilometers: Sequence[float] | None) -> str:
    """Format width and height in one unit: 187 × 159 km, 2.2 × 1.7 km, 95 × 40 m."""
    if not kilometers:
        return MISSING
    width, height = kilometers
    if max(width, height) < 1:
        return f"{format_fixed(1000 * width, 0)} × {format_fixed(1000 * height, 0)} m"
    digits = 0 if max(width, height) >= 100 else 1
    return f"{format_fixed(width, digits)} × {format_fixed(height, digits)} km"


def format_axes(major: float, minor: float) -> str:
    """Format the axes of an ellipse in one unit: 205 × 131 km, 18,000 × 80.0 m."""
    if not (_is_finite(major) and _is_finite(minor)) or major >= VAST:
        return f"{format_distance(major)} × {format_distance(minor)}"
    if minor >= 1000:
        return format_area((major / 1000, minor / 1000))
    lengths = (format_fixed(length, 0 if length >= 100 else 1) for length in (major, minor))
    return f"{' × '.join(lengths)} m"


def format_number(value: float | None, digits: int = 4) -> str:
    """Format with `digits` significant digits."""
    if not _is_finite(value):
        return MISSING
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e6:
        mantissa, exponent = _format(Decimal(value), f".{digits - 2}e").split("e")
        return f"{mantissa}e{int(exponent)}"
    return format_fixed(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def format_tick(value: float, digits: int = 4) -> str:
    """Format a round value of an axis, without zeros at the end: 0.05, 2500, 1.2e7."""
    rounded = float(_format(Decimal(value), f".{digits - 1}e"))
    if rounded == 0:
        return "0"
    if 1e-3 <= abs(rounded) < 1e6:
        return format(Decimal(repr(rounded)).normalize(), "f")
    mantissa, exponent = format(Decimal(repr(rounded)).normalize(), "e").split("e")
    return f"{mantissa}e{int(exponent)}"


def format_distance_tick(value: float) -> str:
    """Format a round distance: 5 km, 200 m."""
    if abs(value) >= 1000:
        return f"{format_tick(value / 1000, 6)} km"
    return f"{format_tick(value, 6)} m"


def format_parameter(value: object) -> str:
    """Format the value of a parameter; sampled floats get four significant digits."""
    match value:
        case None:
            return MISSING
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def format_percent(share: float | None, digits: int = 1) -> str:
    if not _is_finite(share):
        return MISSING
    if abs(share) >= VAST:
        return f"{format_number(100 * share)} %"
    return f"{format_fixed(100 * share, digits)} %"


def format_duration(seconds: float | None) -> str:
    """12 s, 5 min 3 s, 2 h 5 min, 3 d 4 h."""
    if not _is_finite(seconds):
        return MISSING
    if seconds >= VAST:
        return f"{format_number(seconds / 86_400)} d"
    whole = max(0, math.floor(seconds + 0.5))
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
            return f"{format_fixed(count / step, 1)} {unit}"
    return f"{count} B"
