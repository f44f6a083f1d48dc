"""The display of `heimdall watch` on a terminal; needs rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from heimdall_sdk.api_client import JsonDict
from heimdall_sdk.cli import formatting
from heimdall_sdk.cli.progress import Progress
from heimdall_sdk.cli.watch import MAX_METRICS, status_line

SHOWN_EPOCHS = 10
SHOWN_MESSAGES = 5
BARS = "▁▂▃▄▅▆▇█"
STYLES = {"running": "cyan", "completed": "green", "failed": "red", "cancelled": "yellow",
          "paused": "yellow"}  # fmt: skip


class LiveDisplay:
    """Status, progress, the newest epochs and the course of the objective."""

    def __init__(self, job: JsonDict) -> None:
        self._job = job
        self._progress = Progress(job)
        self._messages: list[str] = []
        self._live = Live(get_renderable=self._render, refresh_per_second=8)
        self._live.start()

    def show(self, event: JsonDict) -> None:
        self._progress.add(event)
        if line := status_line(event):
            self._messages = [*self._messages, line][-SHOWN_MESSAGES:]

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> Group:
        progress = self._progress
        status = Text()
        status.append(f"{self._job['name'] or self._job['id'][:8]}  ", style="bold")
        status.append(progress.status, style=STYLES.get(progress.status, ""))
        if progress.stop_requested:
            status.append(f", {progress.stop_requested} requested")
        status.append(f"  {self._position()}", style="dim")
        parts: list[Text | Padding | Table] = [status]
        if progress.total_epochs:
            # A bar does not end its line.
            parts.append(Padding(ProgressBar(progress.total_epochs, progress.epoch), 0))
        elif progress.percent is not None:
            parts.append(Padding(ProgressBar(100, progress.percent), 0))
        if progress.objective_values:
            parts.append(Text(f"{progress.objective}  {sparkline(progress.objective_values, 60)}"))
        if progress.epochs:
            parts.append(self._table())
        parts += [Text(message, style="dim") for message in self._messages]
        return Group(*parts)

    def _position(self) -> str:
        progress = self._progress
        found = []
        if progress.total_epochs:
            found.append(f"epoch {progress.epoch}/{progress.total_epochs}")
        elif progress.epoch:
            found.append(f"epoch {progress.epoch}")
        if progress.step is not None:
            found.append(f"step {progress.step}")
        if progress.batch:
            found.append(progress.batch)
        if progress.seconds_left is not None:
            found.append(f"{formatting.duration(progress.seconds_left)} left")
        return "  ".join(found)

    def _table(self) -> Table:
        newest = list(self._progress.epochs.items())[-SHOWN_EPOCHS:]
        names = list(dict.fromkeys(name for _, metrics in newest for name in metrics))
        objective = self._progress.objective
        names = sorted(names, key=lambda name: name != objective)[:MAX_METRICS]
        table = Table(box=None, pad_edge=False)
        for name in ("epoch", *names, ""):
            table.add_column(name, justify="right")
        for epoch, metrics in newest:
            values = [formatting.number(metrics.get(name)) for name in names]
            is_best = epoch == self._progress.best_epoch
            table.add_row(
                str(epoch), *values, "best" if is_best else "", style="green" if is_best else ""
            )
        return table


def sparkline(values: Sequence[float], width: int) -> str:
    """The newest values as bars."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(BARS[int((value - low) / span * (len(BARS) - 1))] for value in shown)
