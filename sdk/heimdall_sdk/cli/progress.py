"""The progress of a job, computed from its events."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from heimdall_sdk.api_client import JsonDict
from heimdall_sdk.cli.formatting import parse_time

KEPT_EPOCHS = 200
PACE_EPOCHS = 10


class Progress:
    def __init__(self, job: JsonDict) -> None:
        self.status: str = job["status"]
        self.stop_requested: str = job["stop_requested"]
        self.epoch: int = 0
        self.total_epochs: int = job["total_epochs"]
        self.best_epoch: int | None = None
        self.objective: str = (job["objective"] or {}).get("metric", "")
        self.epochs: dict[int, dict[str, Any]] = {}
        self.step: int | None = None
        self.percent: float | None = job.get("reported_percent")
        self._end: float | None = _time(job.get("estimated_end_at"))
        self.batch = ""
        self._maximizes = (job["objective"] or {}).get("direction") == "maximize"
        self._best: float | None = None
        self._times: deque[tuple[int, float]] = deque(maxlen=PACE_EPOCHS + 1)

    def add(self, event: JsonDict) -> None:
        data = event["data"]
        if event["event"] == "training:progress":
            self._add_metrics(event)
        elif event["event"] == "training:batch_progress":
            self.batch = f"epoch {data['epoch']}, batch {data['batch']}/{data['total_batches']}"
        elif event["event"] == "training:started":
            self._times.clear()
        elif event["event"] in ("training:status", "training:completed"):
            self.status = data["status"]
            self.stop_requested = data.get("stop_requested", "")

    @property
    def seconds_left(self) -> float | None:
        """The time left that the training reports, else from the speed of the newest epochs."""
        if self.status == "running" and self._end is not None:
            return max(0.0, self._end - time.time())
        if self.status != "running" or len(self._times) < 2 or not self.total_epochs:
            return None
        (first, start), (last, end) = self._times[0], self._times[-1]
        return (self.total_epochs - last) * (end - start) / (last - first)

    @property
    def objective_values(self) -> list[float]:
        values = (metrics.get(self.objective) for metrics in self.epochs.values())
        return [value for value in values if value is not None]

    def _add_metrics(self, event: JsonDict) -> None:
        data = event["data"]
        epoch, metrics = data["epoch"], data["metrics"]
        self.total_epochs = data["total_epochs"]
        self.step = data.get("step", self.step)
        self.percent = data.get("progress_percent", self.percent)
        self._end = _time(data.get("estimated_end_at"))
        self.batch = ""
        if epoch > self.epoch:
            self._times.append((epoch, parse_time(event["timestamp"]).timestamp()))
        self.epoch = max(self.epoch, epoch)
        self.epochs.setdefault(epoch, {}).update(metrics)
        if len(self.epochs) > KEPT_EPOCHS:
            del self.epochs[next(iter(self.epochs))]
        value = metrics.get(self.objective)
        if data["is_best"] or (value is not None and self._is_better(value)):
            self.best_epoch, self._best = epoch, value if value is not None else self._best

    def _is_better(self, value: float) -> bool:
        if self._best is None:
            return True
        return value > self._best if self._maximizes else value < self._best


def _time(text: str | None) -> float | None:
    return parse_time(text).timestamp() if text else None
