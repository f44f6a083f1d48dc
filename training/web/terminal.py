"""Terminal output as plain lines, for pages without JavaScript; ansi.js does the same."""

from __future__ import annotations

import re

ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)|\x1b[@-Z\\^_]?")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
TRACEBACK = "Traceback (most recent call last)"


def plain_lines(output: str) -> list[str]:
    """The lines as a terminal shows them, without colors; progress bars in their last state."""
    lines = output.removesuffix("\n").split("\n") if output else []
    return [_plain_line(line) for line in lines]


def _plain_line(line: str) -> str:
    segments = [ESCAPE.sub("", segment) for segment in line.split("\r")]
    shown = next((segment for segment in reversed(segments) if segment), "")
    return CONTROL.sub("", shown)


def from_traceback(lines: list[str], limit: int) -> list[str]:
    """The last traceback and what follows it, or else the last lines; at most `limit`."""
    starts = [row for row, line in enumerate(lines) if line.startswith(TRACEBACK)]
    return lines[starts[-1] if starts else 0 :][-limit:]
