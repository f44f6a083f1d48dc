"""Numbers as people read them; the pages' words.js says them in the same words."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TypeGuard

NOTHING = "–"
# What lists and pages call `best_val_rmse`, and why it need not be the least of all.
BEST_RMSE = "RMSE at best epoch"
BEST_RMSE_MEANS = (
    "Of the validation split, at the epoch with the least validation loss, whose weights are kept"
)
# What the time left is rounded to, in seconds.
STEPS = (1, 5, 30, 60, 300, 600, 3600)


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def metres(value: float | None) -> str:
    """A distance: 34.2 m, 340 m, 34.20 km."""
    if not _known(value):
        return NOTHING
    if abs(value) >= 10_000:
        return f"{value / 1000:.2f} km"
    return f"{value:.0f} m" if abs(value) >= 100 else f"{value:.1f} m"


def figure(value: float | None, digits: int = 4) -> str:
    """A number of so many significant digits."""
    if not _known(value):
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e6:
        mantissa, exponent = f"{value:.{digits - 2}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def percent(share: float | None, digits: int = 1) -> str:
    if not _known(share):
        return NOTHING
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """12 s, 5 min 3 s, 2 h 5 min, 3 d 4 h."""
    if not _known(seconds):
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
    """How long it may still take, rounded by no more than a twentieth."""
    if not _known(seconds):
        return ""
    step = max(step for step in STEPS if step <= max(1, 0.08 * seconds))
    said = duration(max(1, step * math.floor(seconds / step + 0.5)))
    return said.replace(" 0 s", "").replace(" 0 min", "").replace(" 0 h", "")


def rate(seconds: float | None) -> tuple[str, str]:
    """How fast epochs of so many seconds come: 2.1 epochs/s, 12 s an epoch, 1 min 5 s an epoch."""
    if not _known(seconds) or seconds <= 0:
        return NOTHING, ""
    if seconds < 1:
        return figure(1 / seconds, 2), "epochs/s"
    return duration(seconds) if seconds >= 60 else f"{figure(seconds, 2)} s", "an epoch"


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
