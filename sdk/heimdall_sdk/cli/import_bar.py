"""The progress of `heimdall import` on a terminal; needs rich."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from heimdall_sdk.importing.upload import ImportedRun


class Bar:
    """Runs that failed are shown above the bar."""

    def __init__(self, runs: int) -> None:
        self._values = 0
        self._progress = Progress(
            BarColumn(), MofNCompleteColumn(), TextColumn("runs, {task.description}"),
            TimeRemainingColumn(), console=Console(file=sys.stderr),
        )  # fmt: skip
        self._task = self._progress.add_task("0 values", total=runs)
        self._progress.start()

    def show(self, result: ImportedRun) -> None:
        if result.error:
            self._progress.console.print(f"heimdall: {escape(f'{result.name}: {result.error}')}")
        self._values += result.values
        self._progress.update(self._task, advance=1, description=f"{self._values:,} values")

    def close(self) -> None:
        self._progress.stop()
