"""The manifest of a program: a training that can be started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from heimdall_sdk.messages import Objective
from training.programs.datasets import DatasetFormat
from training.programs.metrics import Chart, Direction, Metric, MetricRegistry

Needs = Literal["auto", "cpu", "gpu"]
TensorBoard = Literal["steps", "epochs", "off"]


class ManifestError(ValueError):
    """A manifest contradicts itself; the message names the program and the field."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Named parameter values that the form of a program offers."""

    name: str
    title: str
    description: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """A training that can be chosen: its parameters, metrics and objective.

    `parameters` is the model that validates hyperparameters and generates forms, API schema and
    sweep spaces. `headline` is the metric shown in lists, with its value at the best epoch;
    default: the objective. `figures` names the metrics whose latest values a job's page shows in
    large type. `table` names the columns of the table of epochs. `command` runs in `folder`; its
    first word "python" is replaced by `python`, by default the worker's interpreter.
    `inference_command` holds arguments of the worker's interpreter. `network_parameters` shape the
    network: a job that starts from the weights of another one has the same. `tensorboard` is the
    meaning of the steps in its event files; "off" if the files are not read.
    """

    name: str
    title: str
    command: tuple[str, ...]
    parameters: type[BaseModel]
    metrics: MetricRegistry = field(default_factory=MetricRegistry)
    objective: Objective | None = None
    headline: str = ""
    description: str = ""
    folder: Path | None = None
    python: str = ""
    figures: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    table: tuple[str, ...] = ()
    main_parameters: tuple[str, ...] = ()
    network_parameters: tuple[str, ...] = ()
    presets: tuple[Preset, ...] = ()
    needs: Needs = "auto"
    resumable: bool = True
    tensorboard: TensorBoard = "steps"
    datasets: DatasetFormat[Any, Any] | None = None
    inference_command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        drawn = {name for chart in self.charts for name in chart.metrics}
        chosen = {self.objective.metric} if self.objective else set()
        chosen |= {self.headline} if self.headline else set()
        for name in sorted(chosen | {*self.figures, *self.table, *drawn}):
            if name not in self.metrics:
                raise ManifestError(f"Program {self.name!r}: metric {name!r} is not declared.")
        for preset in self.presets:
            unknown = set(preset.values) - set(self.parameters.model_fields)
            if unknown:
                raise ManifestError(
                    f"Program {self.name!r}: preset {preset.name!r} sets the unknown parameter "
                    f"{min(unknown)!r}."
                )

    @property
    def objective_metric(self) -> str:
        return self.objective.metric if self.objective else ""

    @property
    def objective_direction(self) -> str:
        return self.objective.direction if self.objective else ""

    @property
    def headline_name(self) -> str:
        """The name of the headline metric; empty for a program without an objective."""
        return self.headline or self.objective_metric

    @property
    def headline_metric(self) -> Metric:
        return self.metrics.describe(self.headline_name)

    @property
    def objective_choices(self) -> tuple[str, ...]:
        """The metrics that a sweep can optimize: a job keeps their values at its best epoch."""
        names = (self.objective_metric, self.headline_name)
        return tuple(dict.fromkeys(name for name in names if name))

    def direction_of(self, metric: str) -> Direction:
        """Whether smaller or larger values of the metric are better; smaller if undeclared."""
        if self.objective and metric == self.objective.metric:
            return self.objective.direction
        return self.metrics.describe(metric).direction or "minimize"

    @property
    def dataset_format(self) -> DatasetFormat[Any, Any]:
        """The format of its datasets; raises ManifestError if the program uses no datasets."""
        if self.datasets is None:
            raise ManifestError(f"Program {self.name!r} does not use datasets.")
        return self.datasets

    def parameter_title(self, name: str) -> str:
        return self.parameters.model_fields[name].title or name

    def at_best_epoch(self, metrics: Mapping[str, float | None]) -> dict[str, float | None]:
        """The columns of a job that hold its result, from the metrics of its best epoch."""
        return {
            "best_value": metrics.get(self.objective_metric),
            "headline_value": metrics.get(self.headline_name),
        }
