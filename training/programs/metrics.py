"""Metrics that a program declares: the only source of their titles, units and formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

Direction = Literal["minimize", "maximize"]
# How pages print a value: distance in meters, percent from a fraction, duration in seconds.
Format = Literal["number", "distance", "percent", "duration"]


class Metric(BaseModel):
    """One series of numbers that a training reports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    short_title: str = ""  # where space is scarce: table heads and legends
    description: str = ""
    unit: str = ""
    direction: Direction | None = None
    format: Format = "number"
    digits: int = 4  # significant digits of a number

    @property
    def label(self) -> str:
        return self.short_title or self.title

    def as_json(self) -> dict[str, str | int | None]:
        """What JavaScript needs to name and print the metric."""
        return {
            "name": self.name,
            "title": self.title,
            "label": self.label,
            "unit": self.unit,
            "direction": self.direction,
            "format": self.format,
            "digits": self.digits,
        }


class Chart(BaseModel):
    """Metrics that are drawn into one chart of a job's page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    metrics: tuple[str, ...]
    logarithmic: bool = False
    section: str = ""  # charts of a section are shown together


class MetricRegistry(Mapping[str, Metric]):
    """The declared metrics by name, in the order of declaration."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = {metric.name: metric for metric in metrics}

    def __getitem__(self, name: str) -> Metric:
        return self._metrics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def describe(self, name: str) -> Metric:
        """The metric, or a plain number under its own name where a training reports another."""
        return self._metrics.get(name) or Metric(name=name, title=name)

    def as_json(self) -> dict[str, dict[str, str | int | None]]:
        return {name: metric.as_json() for name, metric in self._metrics.items()}

    def select(self, names: tuple[str, ...]) -> Self:
        return type(self)(*(self._metrics[name] for name in names))
