"""Resource metrics of a job's processes: sampled by the worker, stored in blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypedDict
from uuid import UUID

import numpy as np
from django.db.models import Max
from django.utils import timezone
from numpy.typing import NDArray

from training.jobs.chart_series import downsample_minmax
from training.models import Job, SystemBlock

# Five minutes of samples.
BLOCK_LENGTH = 60
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """`at` in seconds since 1970; figures in bytes, bytes per second, percent, degrees, watts."""

    at: float
    figures: Mapping[str, float]

    @property
    def memory(self) -> float:
        """Shared pages count once where that is known."""
        return self.figures.get("memory_pss", self.figures.get("memory_rss", 0.0))


class SampleStore:
    """Stores the samples of one attempt; the newest block is written again as it grows."""

    def __init__(self, job_id: UUID, attempt: int) -> None:
        self._job_id, self._attempt = job_id, attempt
        self._block: list[Sample] = []

    def add(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            if len(self._block) == BLOCK_LENGTH:
                self._write()
                self._block = []
            self._block.append(sample)
        if samples:
            self._write()

    def _write(self) -> None:
        row = SystemBlock(
            job_id=self._job_id,
            attempt=self._attempt,
            first_at=datetime.fromtimestamp(self._block[0].at, UTC),
            samples=_as_columns(self._block),
            peak_memory=round(max(sample.memory for sample in self._block)),
            updated_at=timezone.now(),
        )
        SystemBlock.objects.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["job", "attempt", "first_at"],
            update_fields=["samples", "peak_memory", "updated_at"],
        )


def _as_columns(block: Sequence[Sample]) -> dict[str, list[float | None]]:
    names = sorted({name for sample in block for name in sample.figures})
    columns: dict[str, list[float | None]] = {"at": [round(one.at, 2) for one in block]}
    for name in names:
        columns[name] = [_rounded(one.figures.get(name)) for one in block]
    return columns


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


class SystemColumnsJson(TypedDict):
    time: list[float]
    seconds: list[float]
    attempt: list[int]
    series: dict[str, list[float | None]]
    total: int
    peak_memory: int | None


@dataclass(frozen=True, slots=True)
class SystemColumns:
    """Columns [n] for a chart; `seconds` count from the first sample of the job."""

    time: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    attempt: list[int] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=dict)
    total: int = 0
    peak_memory: int | None = None

    def as_json(self) -> SystemColumnsJson:
        return {
            "time": self.time, "seconds": self.seconds, "attempt": self.attempt,
            "series": self.series, "total": self.total, "peak_memory": self.peak_memory,
        }  # fmt: skip


def columns(job: Job, max_points: int) -> SystemColumns:
    """At most `max_points` samples, the extremes of each series included."""
    rows = list(
        SystemBlock.objects.filter(job=job)
        .order_by("first_at")
        .values_list("attempt", "samples", "peak_memory")
    )
    if not rows:
        return SystemColumns()
    names = sorted({name for _, samples, _ in rows for name in samples} - {"at"})
    at = np.concatenate([samples["at"] for _, samples, _ in rows])
    attempts = np.repeat(
        [attempt for attempt, _, _ in rows], [len(samples["at"]) for _, samples, _ in rows]
    )
    values = np.array([_joined(name, [samples for _, samples, _ in rows]) for name in names])
    kept = downsample_minmax(values.reshape(len(names), len(at)), max_points)
    return SystemColumns(
        time=at[kept].tolist(),
        seconds=np.round(at[kept] - at[0], 2).tolist(),
        attempt=attempts[kept].tolist(),
        series={name: _json_numbers(values[row, kept]) for row, name in enumerate(names)},
        total=len(at),
        peak_memory=max(peak for _, _, peak in rows),
    )


def _joined(name: str, blocks: Sequence[Mapping[str, list[float | None]]]) -> NDArray[np.float64]:
    """The series over all blocks; NaN where a sample has no such figure."""
    parts = [block.get(name, [None] * len(block["at"])) for block in blocks]
    return np.array([value for part in parts for value in part], np.float64)


def _json_numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def version(job: Job) -> datetime | None:
    """Changes whenever samples are added."""
    found = SystemBlock.objects.filter(job=job).aggregate(newest=Max("updated_at"))
    newest: datetime | None = found["newest"]
    return newest
