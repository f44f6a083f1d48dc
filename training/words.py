"""Numbers as people read them; the pages' words.js says them in the same words."""

from __future__ import annotations

import math
from datetime import datetime

NOTHING = "–"


def metres(value: float | None) -> str:
    """A distance: 34.2 m, 340 m, 34.20 km."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) >= 10_000:
        return f"{value / 1000:.2f} km"
    return f"{value:.0f} m" if abs(value) >= 100 else f"{value:.1f} m"


def figure(value: float | None, digits: int = 4) -> str:
    """A number of so many significant digits."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e6:
        mantissa, exponent = f"{value:.{digits - 2}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def percent(share: float | None, digits: int = 1) -> str:
    if share is None or not math.isfinite(share):
        return NOTHING
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """12 s, 5 min 3 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def about(seconds: float | None) -> str:
    """How long it may still take, no more exactly than one can know."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 55:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} min"
    return duration(600 * round(seconds / 600))


def ago(then: datetime | None, now: datetime) -> str:
    """The largest unit alone."""
    if then is None:
        return NOTHING
    seconds = max(0, int((now - then).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def size(count: int) -> str:
    """Of a file."""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"
