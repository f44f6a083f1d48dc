"""Numbers, times and tables as text."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime, timezone

_FRACTION = re.compile(r"\.\d+")
# Times below: seconds of the unit, and below how many seconds it is used.
_UNITS = ((1, 100, "s"), (60, 100 * 60, "min"), (3600, 48 * 3600, "h"), (86400, math.inf, "d"))


def number(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def duration(seconds: float) -> str:
    for unit, limit, name in _UNITS:
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return ""


def parse_time(text: str) -> datetime:
    """RFC 3339, as the API writes it."""
    return datetime.fromisoformat(_FRACTION.sub("", text).replace("Z", "+00:00"))


def age(text: str | None) -> str:
    if not text:
        return "-"
    seconds = (datetime.now(timezone.utc) - parse_time(text)).total_seconds()
    return duration(max(seconds, 0.0))


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], flexible: str) -> None:
    """Aligned text. On a terminal, the flexible column is shortened to fit."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    if sys.stdout.isatty():
        position = columns.index(flexible)
        room = shutil.get_terminal_size().columns - sum(widths) - 2 * (len(widths) - 1)
        widths[position] = max(widths[position] + min(room, 0), 8)
    for row in (columns, *rows):
        cells = (_fit(cell, width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"
