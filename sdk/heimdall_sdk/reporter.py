"""The interface between a run and its connection to Heimdall, the same in all modes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

# Step, seconds since the epoch by this machine's clock, epoch, values.
PointTuple = tuple[int, float, "int | None", dict[str, float]]
Status = Literal["completed", "failed", "cancelled"]


class Reporter:
    """Reports nothing: for ranks other than 0, forked processes and finished runs."""

    stop_requested = ""  # "", "pause" or "cancel"
    put_point: Callable[[PointTuple], object]

    def __init__(self) -> None:
        self.put_point = _drop

    def started(self, total_epochs: int | None, resumed_from_epoch: int | None) -> None:
        """Training begins; the data is loaded."""

    def note(self, message: str) -> None:
        """Report a note for users."""

    def checkpointed(self, epoch: int, path: Path) -> None:
        """A checkpoint is on disk."""

    def paused(self) -> None:
        """The training stopped as requested, after its checkpoint."""

    def artifact(self, path: Path, name: str) -> None:
        """Keep a copy of a file under this name."""

    def finish(self, status: Status, error_message: str, checkpoint: Path | None) -> None:
        """Report the end and wait, for a bounded time, until all is sent."""

    def abandon(self) -> None:
        """The training ended with an error that may not recur: send the remaining reports."""

    def release_locks(self) -> None:
        """Close the locks that a forked process has inherited."""


def _drop(_point: PointTuple) -> None:
    return


def json_point(point: PointTuple) -> dict[str, object]:
    step, time, epoch, values = point
    encoded: dict[str, object] = {"step": step, "time": time, "values": json_values(values)}
    if epoch is not None:
        encoded["epoch"] = epoch
    return encoded


def json_values(values: Mapping[str, float]) -> Mapping[str, float | str]:
    """Strict JSON has neither NaN nor infinities: they become strings."""
    # The sum is nearly always finite; then the values need no check one by one.
    if math.isfinite(sum(values.values())):
        return values
    return {
        name: value if math.isfinite(value) else NON_FINITE[repr(float(value))]
        for name, value in values.items()
    }


NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
