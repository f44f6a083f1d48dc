"""What `heimdall import` shows while it runs."""

from __future__ import annotations

import sys
from typing import Protocol

from heimdall_sdk.cli import formatting
from heimdall_sdk.importing.upload import ImportedRun
from heimdall_sdk.text import count_of

# With more runs, a terminal shows a bar instead of a line for each.
MAX_LINES = 20


class Display(Protocol):
    """Shows the result of each run."""

    def show(self, result: ImportedRun) -> None: ...

    def close(self) -> None: ...


def open_display(runs: int, *, as_json: bool) -> Display:
    if as_json:
        return JsonLines()
    if runs > MAX_LINES and sys.stdout.isatty():
        try:
            from heimdall_sdk.cli.import_bar import Bar
        except ImportError:
            return Counter(runs)
        return Bar(runs)
    return Lines()


class JsonLines:
    """One line per run."""

    def show(self, result: ImportedRun) -> None:
        formatting.print_json(result.as_json())

    def close(self) -> None:
        return


class Lines:
    def show(self, result: ImportedRun) -> None:
        print_run(result)

    def close(self) -> None:
        return


class Counter:
    """How many runs are done, and a line for each that failed."""

    def __init__(self, runs: int) -> None:
        self._done, self._runs = 0, runs

    def show(self, result: ImportedRun) -> None:
        self._done += 1
        if result.error:
            print_run(result)
        print(f"\r{self._done:,} of {self._runs:,} runs", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        print(file=sys.stderr)


def print_run(result: ImportedRun) -> None:
    name = f"{result.project}/{result.name}" if result.project else result.name
    if result.error:
        print(f"heimdall: {name}: {result.error}", file=sys.stderr, flush=True)
        return
    print(f"{name}: {_outcome(result)}", flush=True)


def _outcome(result: ImportedRun) -> str:
    job = f"job {result.job_id}"
    if result.outcome == "already there":
        return f"already there as {job}"
    if result.outcome == "empty":
        return "has no numbers: not imported"
    files = f", {count_of(result.artifacts, 'artifact')}" if result.artifacts else ""
    content = f"{count_of(result.values, 'value')} in {count_of(result.points, 'point')}{files}"
    if result.outcome == "not sent":
        return content
    verb = "continued" if result.outcome == "continued" else "imported"
    return f"{content}, {verb} as {job}"
