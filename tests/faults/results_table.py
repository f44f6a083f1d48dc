"""The table after a test run: how often each fault was caused, and its cost.

`HEIMDALL_FAULTS=full python3 manage.py test -n 0 tests/faults` causes each as often
and for as long as the documentation says; otherwise a few times, to keep the run short.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

FULL = os.environ.get("HEIMDALL_FAULTS") == "full"
PROPERTY = "fault"
Tally = Callable[..., None]


def scaled(short: int, full: int) -> int:
    """Return a number of repetitions or seconds: `full` with HEIMDALL_FAULTS=full."""
    return full if FULL else short


def row(fault: str, tried: int, lost: str = "nothing", seconds: Sequence[float] = ()) -> str:
    """One line of the table; `seconds`: how long each recovery took."""
    took = ""
    if seconds:
        took = f"{statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s"
    return f"| {fault} | {tried} | {lost} | {took} |"


def table(reports: Iterable[Any]) -> list[str]:
    """The rows that the tests recorded in their reports."""
    found = [
        value for report in reports for name, value in report.user_properties if name == PROPERTY
    ]
    if not found:
        return []
    return ["| fault | tried | lost | recovery: median, worst |", "|---|---|---|---|", *found]
